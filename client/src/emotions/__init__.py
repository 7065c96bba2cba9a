"""Client of the self-hosted emotion recognition service.

from emotions import EmotionClient

with EmotionClient("http://127.0.0.1:5000") as client:
    for face in client.analyse("photo.jpg").faces:
        print(face.dominant, face.emotions[face.dominant], face.box_xyxy)
"""

from emotions.choices import Aggregator, Detector, Model, Pipeline
from emotions.client import EmotionClient
from emotions.deprecation import renamed_attributes
from emotions.errors import (
    RENAMED,
    BadImage,
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
    ServiceBusy,
    ServiceError,
    ServiceUnreachable,
    TimedOut,
    TooLarge,
    UnreadableImage,
)
from emotions.outcomes import Outcome
from emotions.parameters import Filters, Options
from emotions.types import (
    Analysis,
    Annotated,
    Face,
    FoundFace,
    Mood,
    Person,
    Span,
    SpanEmotion,
)

__all__ = [
    "Aggregator",
    "Analysis",
    "Annotated",
    "BadImage",
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
    "ServiceBusy",
    "ServiceError",
    "ServiceUnreachable",
    "Span",
    "SpanEmotion",
    "TimedOut",
    "TooLarge",
    "UnreadableImage",
]

__getattr__ = renamed_attributes(__name__, RENAMED)
