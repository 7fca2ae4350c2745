//! Labels, annotations and well-known names, so that no second place spells them.

/// API group of every Touchseal kind.
pub const GROUP: &str = "touchseal.dev";
/// Field manager of every write the operator makes.
pub const FIELD_MANAGER: &str = "touchseal";
/// Field manager of the one annotation by which workloads are restarted.
pub const ROLLOUT_FIELD_MANAGER: &str = "touchseal-rollout";

/// Label every object we create carries, and the only Secrets we watch: `app.kubernetes.io/managed-by=touchseal`.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "touchseal";

/// Annotation on a Secret of ours: the name of the EncryptedSecret it comes from.
pub const SOURCE_ANNOTATION: &str = "touchseal.dev/encrypted-secret";
/// Annotation on a Secret of ours: the secret generation it holds (decimal).
pub const GENERATION_ANNOTATION: &str = "touchseal.dev/secret-generation";
/// Annotation on a Secret of ours that holds other content than the newest: `previous` or `generation`.
pub const ROLE_ANNOTATION: &str = "touchseal.dev/role";
/// Annotation on a pod template: which secret generations it was last rolled out for, as `app=3,db=7`.
pub const ROLLED_OUT_ANNOTATION: &str = "touchseal.dev/secret-generations";
/// Annotation a person puts on a foreign Secret to let the named EncryptedSecret take it over.
pub const ADOPT_ANNOTATION: &str = "touchseal.dev/adopt";
/// Annotation on an EncryptedSecret: any new value asks for a reconcile now.
pub const RECONCILE_ANNOTATION: &str = "touchseal.dev/reconcile";
/// Annotation on a Keyring: any new value asks every replica to drop its keys (`touchseal seal`).
pub const SEAL_ANNOTATION: &str = "touchseal.dev/seal-requested";

/// ConfigMap of the operator's namespace by which an administrator raises all secret generations that are given out from now
/// on, after a backup was restored.
pub const FLOOR_CONFIG_MAP: &str = "touchseal-generation-floor";
/// Its one key: the least number.
pub const FLOOR_KEY: &str = "floor";

/// Prefix of the audience of an unseal proof; the lower-case hexadecimal session hash follows.
pub const SESSION_AUDIENCE_PREFIX: &str = "touchseal.dev/session/";

/// Namespace the operator is installed in unless told otherwise.
pub const DEFAULT_OPERATOR_NAMESPACE: &str = "touchseal-system";
/// ServiceAccount of the operator unless told otherwise.
pub const DEFAULT_SERVICE_ACCOUNT: &str = "touchseal-operator";

/// Secret types that make the cluster mint credentials; an EncryptedSecret may not ask for them.
pub const REFUSED_SECRET_TYPES: [&str; 2] =
    ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];
