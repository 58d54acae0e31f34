package main

import "slices"

const (
	internet  = "it needs what is on the internet alone: that very image, or packages of Alpine's"
	daemon    = "it asks buildkitd's record of builds for a trace, and a library keeps none"
	rights    = "it needs a host with all capabilities"
	devices   = "RUN --device (CDI) is not offered"
	hosts     = "all steps have the host's network here, where the servers of the tests are"
	words     = "the error says it in other words"
	elsewhere = "what it looks for is added by build.Build (build/provenance.go), and not by BuildKit's service"
	checks    = "it reads the build checks as a client of buildkitd does, with its own words for the line or by a question of its own; build.Progress has them as remarks"
	syntaxes  = "a frontend that a syntax line names and that is not there is an error for BuildKit"
)

// failing are the tests that fail with either frontend, and why that is as it should
// be.
var failing = map[string]string{
	"TestAddGitSHA1":                                         internet,
	"TestAddGitSHA256":                                       internet,
	"TestDeviceRunEnv":                                       devices,
	"TestHistoryFinalizeTrace":                               daemon,
	"TestReproSourceDateEpoch":                               internet,
	"TestSSHFileDescriptorsClosed":                           internet,
	"TestSecretRequiredWithoutValue":                         words,
	"TestSecretSSHProvenance":                                elsewhere,
	"TestInsecureDevicesWhitelist:security.insecure=granted": internet,
	"TestRunSecurityInsecure:security.insecure=granted":      rights,
	"TestRunHostNetwork:network.host=granted":                hosts,
}

// linting are the tests of build checks.
var linting = []string{
	"TestAllTargetUnmarshal", "TestBaseImagePlatformMismatch", "TestConsistentInstructionCasing", "TestCopyIgnoredFileContextRoot",
	"TestCopyIgnoredFiles", "TestDefinitionDescription", "TestDuplicateStageName", "TestExposeInvalidFormat", "TestExposeProtoCasing",
	"TestFromPlatformFlagConstDisallowed", "TestInvalidDefaultArgInFrom", "TestJSONArgsRecommended", "TestLegacyKeyValueFormat",
	"TestMaintainerDeprecated", "TestMultipleInstructionsDisallowed", "TestNoEmptyContinuation", "TestRedundantTargetPlatform",
	"TestReservedStageName", "TestRuleCheckOption", "TestSecretsUsedInArgOrEnv", "TestStageName", "TestUndeclaredArg", "TestUnmatchedVars",
	"TestWarningsBeforeError", "TestWorkdirRelativePath",
}

// known says why a test may fail; "" if it may not.
func known(frontend, test string) string {
	if why, ok := failing[test]; ok {
		return why
	}
	if frontend == "ctor" && slices.Contains(linting, test) {
		return checks
	}
	if frontend == "ctor" && test == "TestErrorsSourceMap" {
		return syntaxes
	}
	return ""
}
