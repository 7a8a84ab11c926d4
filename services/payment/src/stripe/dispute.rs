//! Disputes, as Stripe shows them: an inquiry takes no money yet, a chargeback has taken it until
//! it is won. One becomes the other under the same id.

use super::session::text;
use proto_schemas::payments::DisputeStatus;
use serde_json::Value;

/// Characters that we keep of a dispute's reason; Stripe's are single words.
const REASON_CHARS_MAX: usize = 100;

/// A dispute of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderDispute {
    pub(crate) id: String,
    pub(crate) amount_minor: u64,
    /// As Stripe writes it, in lower case.
    pub(crate) currency: Option<String>,
    pub(crate) standing: Standing,
    pub(crate) reason: Option<String>,
}

/// Where a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) status: DisputeStatus,
    /// The bank only asks.
    pub(crate) is_inquiry: bool,
}

impl ProviderDispute {
    /// Reads a `dispute` object; nothing when it has no id or no amount.
    pub(super) fn read(object: &Value) -> Option<ProviderDispute> {
        Some(ProviderDispute {
            id: text(&object["id"])?,
            amount_minor: object["amount"].as_u64()?,
            currency: text(&object["currency"]),
            standing: Standing::read(object),
            reason: reason(object),
        })
    }
}

/// The provider's own word for why there is a dispute.
pub(super) fn reason(object: &Value) -> Option<String> {
    text(&object["reason"]).map(|it| it.chars().take(REASON_CHARS_MAX).collect())
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

    /// The bank has the money, and may give it back.
    pub(crate) fn holds_money(self) -> bool {
        !self.is_inquiry && self.status.is_open()
    }
}
