"""Makes a study on an object store, and is killed just after one of its requests to write; see `test_object_stores.py`.

Each attempt is a child forked after the imports, so that they are quick.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import s3fs
import torch
import torch._dynamo
import torchvision.transforms.v2.functional
from killed import die, forked
from metamery.analysis.studies.run_study import run_study
from metamery.framework import Plugins, Study
from metamery.plugins.files import folder as _folder

_EARLY = (torch._dynamo, torchvision.transforms.v2.functional, _folder)


def conducted(study: Study, url: str, put: int) -> dict[str, int]:
    """Make a study, and die just before request `put` to write an object; return which of them wrote what."""
    original, puts = s3fs.S3FileSystem._call_s3, {"all": 0, "null": 0, "state": 0}

    async def call(self: Any, method: Any, *arguments: Any, **more: Any) -> Any:
        if method == "put_object" and "/.claim-" not in more["Key"]:
            puts["all"] += 1
            if puts["all"] == put:
                die()
            key = more["Key"].partition("results.zarr/")[2]
            for name, part in (("null", "/null/"), ("state", "/metamers/state/c/")):
                if part in key and not puts[name]:
                    puts[name] = puts["all"]
        return await original(self, method, *arguments, **more)

    s3fs.S3FileSystem._call_s3 = call
    run_study(study, url, Plugins())
    return puts


def main(spec: Path) -> None:
    """Make a study for each line from standard input, ``{name, put}``; say what came of it on a line."""
    torch.set_num_threads(1)
    asked = json.loads(spec.read_text())
    study = Study.from_toml(asked["study"])
    for line in sys.stdin:
        kill = json.loads(line)
        url = f"{asked['bucket']}/{kill['name']}"
        ended, puts = forked(lambda url=url, kill=kill: conducted(study, url, kill["put"]))
        print(json.dumps({"signal": ended, "puts": puts}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
