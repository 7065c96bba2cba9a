// Print one line per face:   URL=http://… KEY=emo_… node examples/client.mjs a.jpg …
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

const { URL: url = "http://127.0.0.1:5000", KEY: key } = process.env;

async function analyse(path) {
  const form = new FormData();
  form.append("image", new Blob([await readFile(path)]), basename(path));
  const response = await fetch(`${url}/v1/images?view=full&store=false`, {
    method: "POST",
    headers: key ? { Authorization: `Bearer ${key}` } : {},
    body: form,
    signal: AbortSignal.timeout(60_000),
  });
  const result = await response.json();
  if (!response.ok) throw new Error(`${response.status}: ${result.detail}`);
  return result;
}

for (const path of process.argv.slice(2)) {
  try {
    const { faces } = await analyse(path);
    for (const { box, dominant, emotions } of faces) {
      const percent = Math.round(100 * emotions[dominant]);
      console.log(`${path}: ${dominant} ${percent} % at ${Math.round(box.x1)}, ${Math.round(box.y1)}`);
    }
    if (faces.length === 0) console.log(`${path}: no face`);
  } catch (error) {
    console.error(`${path}: ${error.message}`);
    process.exitCode = 1;
  }
}
