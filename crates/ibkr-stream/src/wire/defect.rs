//! Why a frame is of no use.

/// Why a frame was dropped. Nothing of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Defect {
    /// Not JSON, and none of the known texts.
    Malformed,
    /// JSON of a shape that no frame has.
    Shape,
}

impl Defect {
    /// What an error of the JSON reader means.
    pub(crate) fn of(error: &serde_json::Error) -> Self {
        if error.is_data() { Self::Shape } else { Self::Malformed }
    }

    /// The name in metric labels.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Shape => "shape",
        }
    }
}
