"""Character recognition through RapidOCR and the models that its package carries; its only importer.

The models are named by path: asked for by kind instead, the package would look for newer ones on the network.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import rapidocr

from ingest.parsers.layout import Rect
from ingest.parsers.ocr import Pixels, RecognisedLine
from rag.errors import DocumentRefused, RefusalReason

MODELS = Path(rapidocr.__file__).parent / "models"
DETECTION = MODELS / "PP-OCRv6_det_small.onnx"
RECOGNITION = MODELS / "PP-OCRv6_rec_small.onnx"
MAX_SIDE_PX = 1600  # with 2,000 the same text takes half as much memory again
LINES_AT_ONCE = 1  # a batch is as wide as its widest line: more memory, no time won


class Engine:
    """Latin, Chinese and Japanese script."""

    def lines(self, image: Pixels) -> list[RecognisedLine]:
        """See `ingest.parsers.ocr.Engine`."""
        found = self._reader(image[:, :, ::-1])  # OpenCV's order of colours
        if found.txts is None or found.boxes is None:
            return []
        return [
            RecognisedLine(text, Rect(*map(float, (*box.min(axis=0), *box.max(axis=0)))), float(score))
            for text, box, score in zip(found.txts, found.boxes, found.scores, strict=True)
        ]

    @cached_property
    def _reader(self) -> Any:
        if not (DETECTION.is_file() and RECOGNITION.is_file()):
            detail = "the package rapidocr lacks its models; install the version that requirements.txt names"
            raise DocumentRefused(RefusalReason.UNSUPPORTED, detail)
        return rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,  # which way up a page is shows in all its lines together
                "Global.max_side_len": MAX_SIDE_PX,
                "Global.text_score": 0.0,
                "Det.model_path": str(DETECTION),
                "Rec.model_path": str(RECOGNITION),
                "Rec.rec_batch_num": LINES_AT_ONCE,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
