SwaggerUIBundle({
  // A relative URL also works when the service is mounted below a path prefix.
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  // Without this, the page would send the URL of the document to a public validator.
  validatorUrl: null,
});
