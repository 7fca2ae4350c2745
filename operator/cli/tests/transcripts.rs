//! The transcripts under `tests/cli`: documentation that is run. They see neither a card nor a cluster.

#[test]
fn the_command_line_says_what_its_transcripts_say() {
    let nowhere = "/nonexistent/touchseal";
    trycmd::TestCases::new()
        .env("PCSCLITE_CSOCK_NAME", nowhere)
        .env("KUBECONFIG", nowhere)
        .env("KUBERNETES_SERVICE_HOST", "")
        .env("XDG_CONFIG_HOME", nowhere)
        .env("SOPS_GPG_EXEC", nowhere)
        .env("COLUMNS", "80")
        .case("../../tests/cli/*.md");
}
