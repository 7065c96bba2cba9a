// A program that uses the generated types: it posts images, reads faces, lists stored images and
// reads a problem document. It prints JSON, which test_generated_clients.py checks.
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Schemas = components["schemas"];
type Json = "application/json" | "application/problem+json";

const [, , baseUrl = "", photo = ""] = process.argv;
const client = createClient<paths, Json>({ baseUrl });

function form(...images: Blob[]): FormData {
  const data = new FormData();
  for (const image of images) data.append("image", image, "astronaut.jpg");
  return data;
}

function isBatch(result: Schemas["Image"] | Schemas["Batch"]): result is Schemas["Batch"] {
  return "images" in result;
}

function happiness(face: Schemas["Face"] | Schemas["FullFace"]): number {
  const score: number | undefined = "bbox" in face ? face.happiness : face.emotions.happiness;
  return score ?? 0;
}

const data = new Uint8Array(await readFile(photo));

// The form has several files of the same name, so this function builds it. openapi-fetch sends the
// form unchanged.
async function post(images: Blob[], query: { threshold?: number; view?: "full" } = {}) {
  const response = await client.POST("/v1/images", {
    params: { query },
    body: { image: [] },
    bodySerializer: () => form(...images),
  });
  if (response.data === undefined) throw new Error(response.error.detail);
  return response.data;
}

const one = await post([new Blob([data])], { threshold: 0.25 });
if (isBatch(one)) throw new Error("the response to one image must be an image, got a batch");
const full = await post([new Blob([data])], { view: "full" });
if (isBatch(full)) throw new Error("the response to one image must be an image, got a batch");
const batch = await post([new Blob([data]), new Blob(["no image"])]);
if (!isBatch(batch)) throw new Error("the response to two images must be a batch, got an image");

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
