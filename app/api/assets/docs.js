SwaggerUIBundle({
  // Below the path of a larger site the document is beside this page, too.
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The badge would ask a public validator about this document.
  validatorUrl: null,
});
