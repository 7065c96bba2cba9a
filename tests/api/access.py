"""Keys and requests for the tests of access control."""

from app.keys import issue


def make_key(app, *rights, **options):
    with app.app_context():
        return issue("a test", rights, **options)


def ask(client, route, key=None, **options):
    """Send a request to a route of ROUTES, with image id 1 and an existing file name."""
    method, path = route.replace("{image_id}", "1").split()
    path = path.replace("docs/assets/{file_name}", "docs/assets/swagger-ui.css")
    path = path.replace("{file_name}", "main.js")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.open(path, method=method, headers=headers, **options)


def headers(**values):
    """Return the arguments of the test client for these headers, with - for _ in their names."""
    return {"headers": {name.replace("_", "-"): value for name, value in values.items()}}


def environment(**values):
    """Return the arguments of the test client for these variables of the WSGI environment."""
    return {"environ_overrides": values}


BASE_URL = {"base_url": "http://127.0.0.1:5000"}


def get_images(client, arguments):
    return client.get("/v1/images", **BASE_URL | arguments)
