"""/healthz and /readyz."""


def test_healthz_reports_alive(client):
    assert client.get("/healthz").json == {"status": "alive"}


def test_readyz_loads_model_and_reports_ready(client):
    assert client.application.extensions["engine"].problem
    assert client.get("/readyz").json == {"status": "ready"}
    assert client.application.extensions["engine"].problem is None


def test_readyz_lists_unusable_models(client, models_dir):
    (models_dir / "stub_5" / "model.onnx").unlink()
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json["status"] == "ready"
    assert list(response.json["unusable_models"]) == ["stub_5"]
    assert "not installed" in response.json["unusable_models"]["stub_5"]


def test_readyz_returns_503_until_weights_exist(client, models_dir):
    weights = models_dir / "stub_8" / "model.onnx"
    weights.unlink()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "not installed" in response.json["detail"]
    assert response.headers["Retry-After"]
    weights.write_bytes(b"stub")
    assert client.get("/readyz").status_code == 200


def test_readyz_returns_503_before_migration(make_app, tmp_path):
    client = make_app(database_url=f"sqlite:///{tmp_path / 'new.db'}").test_client()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "flask db upgrade" in response.json["detail"]
