SwaggerUIBundle({
  url: "{{ url_for('api-docs.openapi_json') }}",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The badge would ask a public validator about this document.
  validatorUrl: null,
});
