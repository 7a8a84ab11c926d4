//! Disputes, as Stripe shows them: an inquiry takes no money yet, a chargeback has taken it until
//! it is won. One becomes the other under the same id.

use proto_schemas::payments::DisputeStatus;
use serde_json::Value;

/// Where a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) status: DisputeStatus,
    /// The bank only asks.
    pub(crate) is_inquiry: bool,
}

impl Standing {
    /// What we do not know is for a person to look at.
    pub(super) fn read(object: &Value) -> Standing {
        let status = object["status"].as_str().unwrap_or_default();
        let asked = status.strip_prefix("warning_");
        Standing {
            status: match asked.unwrap_or(status) {
                "under_review" => DisputeStatus::UnderReview,
                "won" => DisputeStatus::Won,
                "lost" => DisputeStatus::Lost,
                "closed" | "prevented" | "charge_refunded" => DisputeStatus::Closed,
                _ => DisputeStatus::NeedsResponse,
            },
            is_inquiry: asked.is_some(),
        }
    }
}
