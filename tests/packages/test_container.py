"""What surrounds the container: the compose file, the predecessor's tasks, what they write."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import ROOT

yaml = pytest.importorskip("yaml", reason="no python3-yaml: tools/setup test")

# Of the compose specification; a key that is misspelt is silently of no effect.
SERVICE_KEYS = {
    "build", "cap_add", "cap_drop", "command", "depends_on", "entrypoint", "env_file",
    "environment", "healthcheck", "hostname", "image", "init", "logging", "networks", "ports",
    "read_only", "restart", "secrets", "security_opt", "stop_grace_period", "sysctls", "tmpfs",
    "user", "volumes",
}
TASKS = ("datadir", "configure", "build", "run", "rund", "push")


@pytest.fixture(name="compose", scope="module")
def read_compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_every_key_of_the_compose_file_is_known(compose):
    assert set(compose) == {"services", "volumes", "secrets"}
    for service in compose["services"].values():
        assert set(service) <= SERVICE_KEYS


def test_it_has_the_predecessors_names(compose):
    app = compose["services"]["app"]
    assert set(app["secrets"]) == set(compose["secrets"]) == {
        "op_service_account_token", "op_connect_token", "op_vault"}
    for name, secret in compose["secrets"].items():
        assert secret == {"environment": name.upper()}
    assert app["env_file"] == ".env" and "${CONTAINER_NAME" in app["image"]
    assert app["stop_grace_period"] == "45s"
    assert "./data:/data" in app["volumes"] and "21:21" in app["ports"]


def test_the_program_has_no_right_and_cannot_write_but_to_its_volume(compose):
    app = compose["services"]["app"]
    assert app["read_only"] is True and app["cap_drop"] == ["ALL"] and "cap_add" not in app
    assert "no-new-privileges:true" in app["security_opt"] and app["tmpfs"] == ["/tmp"]
    assert [v.split(":")[1] for v in app["volumes"]] == ["/data"]


def test_what_has_no_login_is_not_opened_to_others(compose):
    for name, service in compose["services"].items():
        for port in service["ports"]:
            public = not port.startswith("127.0.0.1:")
            assert not public or name == "app" and re.fullmatch(r"21:21|(50\d{3}-50\d{3}):\1", port)


def test_no_password_is_in_it_and_the_broker_has_one(compose):
    broker = compose["services"]["rabbitmq"]["environment"]
    assert broker["RABBITMQ_DEFAULT_PASS"].startswith("${RABBITMQ_PASSWORD:?")


def test_the_passive_ports_are_those_of_the_configuration(compose):
    text = (ROOT / "packaging/docker/snapshot-processor.conf").read_text(encoding="utf-8")
    low, high = (re.search(rf"passive_port_{end} = (\d+)", text).group(1) for end in ("min", "max"))
    assert f"{low}-{high}:{low}-{high}" in compose["services"]["app"]["ports"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"EXPOSE 21 {low}-{high}" in dockerfile


def test_every_variable_of_the_compose_file_is_in_the_environment_that_is_begun(environment):
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | {"OP_CONNECT_TOKEN", "OP_VAULT"}
    have = set(re.findall(r"(?m)^([A-Z_]+)=", environment.read_text(encoding="utf-8")))
    assert used - have == {"RABBITMQ_SERVER_ADDRESS"}  # the broker beside it


def test_compose_itself_takes_it(tmp_path, environment):
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False) \
        if shutil.which("docker") else None
    if not asked or asked.returncode != 0:
        pytest.skip("no docker compose")
    done = subprocess.run(["docker", "compose", "--env-file", environment, "config", "--quiet"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("container", ["", "CONTAINER=1"])
@pytest.mark.parametrize("task", TASKS)
def test_make_has_the_predecessors_tasks(task, container):
    done = subprocess.run(["make", "-n", task, *container.split()], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    in_container = container or task in ("rund", "push")
    if task in ("build", "run", "rund", "push"):
        assert ("tools/container build" in done.stdout) == bool(in_container)


@pytest.fixture(name="place")
def copy_of_the_script(tmp_path):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/container", tmp_path / "tools/container")
    return tmp_path


def run(place, what, **environment):
    return subprocess.run([place / "tools/container", what], capture_output=True, text=True,
                          check=False, env={"PATH": "/usr/bin:/bin", **environment})


@pytest.fixture(name="environment")
def begun(place):
    if os.geteuid() != 0:
        pytest.skip("only root can give ./data to the container's user")
    done = run(place, "datadir")
    assert done.returncode == 0, done.stderr
    return place / ".env"


def test_the_data_folder_is_the_containers_users_alone(place, environment):
    st = (place / "data").stat()
    assert (st.st_uid, st.st_gid, st.st_mode & 0o777) == (999, 999, 0o700)
    assert environment.stat().st_mode & 0o777 == 0o600


def test_the_environment_that_is_there_is_left_alone(place, environment):
    text = environment.read_text()
    assert re.search(r'RABBITMQ_PASSWORD="[0-9a-f]{48}"', text)
    assert run(place, "datadir").returncode == 0
    assert environment.read_text() == text


def test_without_an_engine_it_says_what_is_missing(place):
    (place / ".env").touch()
    (place / "bin").mkdir()
    for tool in ("bash", "env", "dirname"):
        os.symlink(shutil.which(tool), place / "bin" / tool)
    done = run(place, "build", PATH=str(place / "bin"))
    assert done.returncode == 1 and "docker is missing" in done.stderr


def test_an_image_without_a_registry_is_not_pushed(place, environment):
    assert environment.exists()
    done = run(place, "push")
    assert done.returncode == 1 and "names no repository" in done.stderr


def test_nothing_private_gets_into_an_image():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".env*", "data", ".git", "build*"} <= set(ignored)
    assert pathlib.Path(ROOT / "Dockerfile").read_text().count("\nUSER 999:999\n") == 1
