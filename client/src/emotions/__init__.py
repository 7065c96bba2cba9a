"""A client for the self-hosted emotion recognition service.

from emotions import EmotionClient

with EmotionClient("http://127.0.0.1:5000") as client:
    for face in client.analyse("photo.jpg").faces:
        print(face.dominant, face.emotions[face.dominant], face.box_xyxy)
"""

from emotions.choices import Aggregator, Detector, Model, Pipeline
from emotions.client import EmotionClient
from emotions.errors import (
    BadPicture,
    BadReply,
    Conflict,
    DeadlineExceeded,
    EmotionError,
    FetchFailed,
    InvalidRequest,
    KeyRefused,
    NotAllowed,
    NotAnImage,
    NotFound,
    Problem,
    RateLimited,
    ServiceAway,
    ServiceBusy,
    ServiceError,
    TimedOut,
    TooLarge,
    UnreadablePicture,
)
from emotions.outcomes import Outcome
from emotions.types import (
    Analysis,
    Annotated,
    Face,
    Filters,
    FoundFace,
    Mood,
    Options,
    Person,
    Span,
    SpanEmotion,
)

__all__ = [
    "Aggregator",
    "Analysis",
    "Annotated",
    "BadPicture",
    "BadReply",
    "Conflict",
    "DeadlineExceeded",
    "Detector",
    "EmotionClient",
    "EmotionError",
    "Face",
    "FetchFailed",
    "Filters",
    "FoundFace",
    "InvalidRequest",
    "KeyRefused",
    "Model",
    "Mood",
    "NotAllowed",
    "NotAnImage",
    "NotFound",
    "Options",
    "Outcome",
    "Person",
    "Pipeline",
    "Problem",
    "RateLimited",
    "ServiceAway",
    "ServiceBusy",
    "ServiceError",
    "Span",
    "SpanEmotion",
    "TimedOut",
    "TooLarge",
    "UnreadablePicture",
]
