"""Access rules, gate, retrieval, answering, ports and adapters: everything that reads.

Two vendors report home as soon as they are loaded. onnxruntime 1.31 keeps a device id in `~/.cache/Microsoft` and sends
events to mobile.events.data.microsoft.com, from native code that no audit hook sees; unstructured 0.27 asks
packages.unstructured.io. They can be stopped by the environment alone, and only before they are loaded: so it is set
here, where every process and every test passes first. `tests/security/test_egress.py` holds it.
"""

from __future__ import annotations

import os

os.environ.update(ORT_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1", SCARF_NO_ANALYTICS="1", UNSTRUCTURED_DISABLE_NOTICE="1")
