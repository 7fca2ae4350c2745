//! The two questions to the API server about who asks for the metrics: whose token is this, and may they. Creating a review
//! leaves nothing behind.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::guard::Verdict;

/// What has to be allowed, as in a ClusterRole's `nonResourceURLs`.
const PATH: &str = "/metrics";
const VERB: &str = "get";

/// Asks both.
///
/// # Errors
/// The API server did not answer, or does not let the operator ask.
pub async fn review(client: &Client, token: &str) -> Result<Verdict, kube::Error> {
    let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
    let question = TokenReview { spec, ..TokenReview::default() };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let told = reviews.create(&PostParams::default(), &question).await?.status.unwrap_or_default();
    let (Some(true), Some(user)) = (told.authenticated, told.user) else { return Ok(Verdict::Nobody) };

    let spec = SubjectAccessReviewSpec {
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
        non_resource_attributes: Some(NonResourceAttributes {
            path: Some(PATH.to_owned()),
            verb: Some(VERB.to_owned()),
        }),
        ..SubjectAccessReviewSpec::default()
    };
    let question = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let told = reviews.create(&PostParams::default(), &question).await?.status.unwrap_or_default();
    Ok(if told.allowed && told.denied != Some(true) { Verdict::May } else { Verdict::MayNot })
}
