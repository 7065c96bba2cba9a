"""The JSON that clients parse, from the nouns of the domain. tests/contracts/ pins its shape."""

from dataclasses import dataclass
from typing import Any

from app.store.records import FoundFace, Page, Span
from app.vision.circumplex import Affect, affect_of, mean_affect
from app.vision.mood import Mood, OverallMood, mood_of
from app.vision.types import Analysis, Face


@dataclass(frozen=True, slots=True)
class View:
    """How to look at what was found: with a threshold (each image's own where it is None), in the
    documented form or the full one, and with the group's mood by the aggregator of that name."""

    threshold: float | None = None
    full: bool = False
    mood: str | None = None

    def threshold_of(self, analysis: Analysis) -> float:
        return analysis.threshold if self.threshold is None else self.threshold


def image_document(analysis: Analysis, view: View) -> dict[str, Any]:
    """The documented image or, with a full view, its rich form."""
    threshold = view.threshold_of(analysis)
    document: dict[str, Any] = {
        "file_name": analysis.file_name,
        "threshold": threshold,
        "created_at": time_text(analysis),
        "model": analysis.model.name,
        "detector": analysis.detector,
    }
    if analysis.id is not None:
        document = {"id": analysis.id, **document}
    if view.full:
        document |= {
            "model": {
                "name": analysis.model.name,
                "version": analysis.model.version,
                "sha256": analysis.model.sha256,
            },
            "width": analysis.width,
            "height": analysis.height,
            "rotation": analysis.rotation,
            "dropped": dict(analysis.dropped),
            "timings_ms": dict(analysis.timings_ms),
        }
    document["faces"] = [
        face_document(number, face, threshold, full=view.full)
        for number, face in enumerate(analysis.faces, start=1)
    ]
    if view.mood is not None:
        document["mood"] = mood_document(mood_of(analysis.faces, view.mood))
    return document


def face_document(number: int, face: Face, threshold: float, *, full: bool) -> dict[str, Any]:
    if full:
        x1, y1, x2, y2 = face.box.xyxy
        return {
            "face_id": number,
            "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
            "detection_score": face.detection_score,
            "dominant": face.dominant,
            "emotions": dict(face.emotions),
            **affect_document(affect_of(face.emotions)),
        }
    return {
        "face_id": number,
        **face.emotions.rounded(threshold),
        "bbox": [str(round(value)) for value in face.box.xyxy],
    }


def affect_document(affect: Affect | None) -> dict[str, float | None]:
    """Valence and arousal, or null for both without `affect`."""
    return {"valence": None, "arousal": None} if affect is None else affect._asdict()


def mood_document(mood: Mood) -> dict[str, Any]:
    return {
        "mood": mood.mood,
        "distribution": dict(mood.distribution),
        "aggregator": mood.aggregator,
        "agreement": mood.agreement,
        "valence": dict(mood.valence),
        "shares": dict(mood.shares),
        "faces": [
            {"face_id": face.number, "weight": face.weight, "dominant": face.dominant}
            for face in mood.faces
        ],
        "left_out": [{"face_id": face.number, "reason": face.reason} for face in mood.left_out],
    }


def image_page_document(page: Page[Analysis], view: View) -> dict[str, Any]:
    images = [image_document(analysis, view) for analysis in page.items]
    return {"images": images, "next_cursor": page.next_cursor}


def face_page_document(page: Page[FoundFace], view: View) -> dict[str, Any]:
    faces = [
        {
            "image_id": found.image.id,
            "file_name": found.image.file_name,
            "created_at": time_text(found.image),
            "face": face_document(
                found.number, found.face, view.threshold_of(found.image), full=view.full
            ),
        }
        for found in page.items
    ]
    return {"faces": faces, "next_cursor": page.next_cursor}


def span_document(span: Span, mood: OverallMood | None = None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "span": span.span,
        "images": span.images,
        "faces": span.faces,
        "emotions": {
            emotion: {"faces": span.dominant.get(emotion, 0), "mean_probability": round(mean, 4)}
            for emotion, mean in span.mean_probability.items()
        },
        **affect_document(_rounded(mean_affect(span.sums.values()))),
    }
    if mood is not None:
        document["mood"] = {
            "mood": mood.mood,
            "images": mood.images,
            "distribution": dict(mood.distribution),
            "agreement": mood.agreement,
            "valence": dict(mood.valence),
            "shares": dict(mood.shares),
        }
    return document


def _rounded(affect: Affect | None) -> Affect | None:
    # Adding 0.0 turns -0.0 into 0.0.
    return affect and Affect(*(round(value, 4) + 0.0 for value in affect))


def time_text(analysis: Analysis) -> str:
    """RFC 3339."""
    return analysis.created_at.isoformat().replace("+00:00", "Z")
