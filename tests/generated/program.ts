// What people write with the generated types: post an image, read its faces, list what is stored,
// read a problem document. Prints JSON.
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Schemas = components["schemas"];
type Json = "application/json" | "application/problem+json";

const [, , baseUrl = "", photo = ""] = process.argv;
const client = createClient<paths, Json>({ baseUrl });

function form(...images: Blob[]): FormData {
  const made = new FormData();
  for (const image of images) made.append("image", image, "astronaut.jpg");
  return made;
}

function isBatch(answer: Schemas["Image"] | Schemas["Batch"]): answer is Schemas["Batch"] {
  return "images" in answer;
}

function happiness(face: Schemas["Face"] | Schemas["FullFace"]): number {
  const found: number | undefined = "bbox" in face ? face.happiness : face.emotions.happiness;
  return found ?? 0;
}

const data = new Uint8Array(await readFile(photo));

// Several files of the same name: a form of one's own, which openapi-fetch sends as it is.
async function post(images: Blob[], query: { threshold?: number; view?: "full" } = {}) {
  const answer = await client.POST("/v1/images", {
    params: { query },
    body: { image: [] },
    bodySerializer: () => form(...images),
  });
  if (answer.data === undefined) throw new Error(answer.error.detail);
  return answer.data;
}

const one = await post([new Blob([data])], { threshold: 0.25 });
if (isBatch(one)) throw new Error("one image is no batch");
const full = await post([new Blob([data])], { view: "full" });
if (isBatch(full)) throw new Error("one image is no batch");
const batch = await post([new Blob([data]), new Blob(["no image"])]);
if (!isBatch(batch)) throw new Error("two images are a batch");

const listed = await client.GET("/v1/images", { params: { query: { page_size: 1 } } });
if (listed.error) throw new Error(listed.error.detail);
const cursor: string | null = listed.data.next_cursor;

const missing = await client.GET("/v1/images/{image_id}", { params: { path: { image_id: 999 } } });
const problem: Schemas["Problem"] | undefined = missing.error;
const pipelines = await client.GET("/v1/pipelines");

console.log(
  JSON.stringify({
    threshold: one.threshold,
    happiness: one.faces.map(happiness),
    fullHappiness: full.faces.map(happiness),
    batch: [batch.images.length, batch.errors.map(({ index, status }) => [index, status])],
    listed: listed.data.images.length,
    more: cursor !== null,
    problem: [problem?.status, problem?.type],
    titles: pipelines.data?.pipelines.map(({ title }) => title),
  }),
);
