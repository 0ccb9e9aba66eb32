"""An appliance over its REST API, for the modules that are given a URL: TLS is verified, nothing is followed, and what is
refused is said in the appliance's words."""

import json
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

ARGUMENTS = {
    "url": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "ca": {"type": "path"},
    "enable_secret": {"type": "str", "no_log": True},
}
TOGETHER = [("url", "token")]
ALWAYS = {
    **ARGUMENTS,
    "url": {"type": "str", "required": True},
    "token": {"type": "str", "no_log": True, "required": True},
}
"""Of a module that knows no other way."""
SECONDS = 180  # a commit may restart every service and wait for its ports
AGENT = "sentry-ansible"


class Refused(Exception):  # noqa: N818 - the word the API uses
    """The appliance said no; `status` is HTTP's."""

    def __init__(self, status, message):
        self.status = status
        super().__init__(message)


class Away(Exception):  # noqa: N818 - as above
    """The appliance does not answer."""


def run(argument_spec, work, name, **rules):
    """A whole module that only speaks to the REST API: `work` of the module says whether anything changed, and what is returned
    as `name`."""
    module = AnsibleModule(argument_spec={**ALWAYS, **argument_spec}, supports_check_mode=True, **rules)
    try:
        changed, told = work(module)
    except Refused as error:
        module.fail_json(msg=f"The appliance refuses.\n{error}", status=error.status)
    module.exit_json(changed=changed, **{name: told})


class Rest:
    """The appliance that a module's `url` names."""

    def __init__(self, module):
        self._url = module.params["url"].rstrip("/")
        if not self._url.startswith("https://"):
            module.fail_json(msg=f"url: found {self._url}; allowed: https://NAME:PORT of an appliance")
        self._module = module

    def ask(self, method, *path, query=None, body=None, kind="application/json"):
        """One request; the answer read as JSON, None where it has none. Raises `Refused`; fails the task where the appliance does
        not answer at all."""
        data = None if body is None else json.dumps(body)
        try:
            return self._ask(method, path, query, data, {} if body is None else {"Content-Type": kind})
        except Away as error:
            self._module.fail_json(msg=str(error))

    def look(self, *path):
        """As `ask` for a GET; raises `Away` where the appliance does not answer, as while it starts."""
        return self._ask("GET", path, None, None, {})

    def send(self, file, *path):
        """Put a file as it is; the answer read as JSON. Raises as `ask` does."""
        size = Path(file).stat().st_size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        try:
            with Path(file).open("rb") as data:
                return self._ask("PUT", path, None, data, headers)
        except Away as error:
            self._module.fail_json(msg=str(error))

    def _ask(self, method, path, query, data, more):
        params = self._module.params
        where = "/".join(quote(each, safe="") for each in path)
        words = f"?{urlencode(query)}" if query else ""
        headers = {"Authorization": f"Bearer {params['token']}", **more}
        if params["enable_secret"]:
            headers["Sentry-Enable-Secret"] = params["enable_secret"]
        try:
            answer = open_url(
                f"{self._url}/api/v1/{where}{words}",
                method=method,
                data=data,
                headers=headers,
                ca_path=params["ca"],
                timeout=SECONDS,
                use_proxy=False,
                use_netrc=False,
                follow_redirects="none",
                http_agent=AGENT,
            )
        except HTTPError as error:
            raise Refused(error.code, said(error)) from error
        except (URLError, OSError, ValueError) as error:
            raise Away(f"{self._url} does not answer: {error}") from error
        text = answer.read()
        return json.loads(text) if text else None


def said(error):
    """The problem (RFC 9457) in lines."""
    try:
        problem = json.loads(error.read())
        lines = [f"{problem['title']} ({error.code})", problem["detail"], *problem.get("problems", ())]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
    return "\n".join(dict.fromkeys(lines))
