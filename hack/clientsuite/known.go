package main

const (
	ownCommand = "it names runc's command or its state directory (binary_name, root): refused, see docs/client.md"
	oneRuntime = "an engine has one runtime, which its client names"
)

// known are the tests that fail, and why that is as it should be.
var known = map[string]map[string]string{
	"stock": {},
	"shim": {
		"TestIssue10589":                 ownCommand,
		"TestIssue9103":                  ownCommand,
		"TestKillContainerDeletedByRunc": ownCommand,
	},
	"engine": {
		"TestContainerRuntimeOptionsv2":         ownCommand,
		"TestIssue10589":                        ownCommand,
		"TestIssue9103":                         ownCommand,
		"TestKillContainerDeletedByRunc":        ownCommand,
		"TestContainerStartWithAbsRuntimePath":  oneRuntime,
		"TestDefaultRuntimeWithNamespaceLabels": oneRuntime,
		"TestNewTaskWithRuntimeOption":          "it has a service of its own beside those behind a connection",
		"TestShimInCgroup":                      "the shim is all containers' (shim_cgroup): refused, see docs/client.md",
	},
}

// panicking are the tests that panic against an engine.
var panicking = []string{"TestNewTaskWithRuntimeOption"}

// unfit is the part of a test that wants an image by its digest, which no image
// but the real one has.
const unfit = "^TestExportAllCases$/ocispec.AnnotationRefName$"

// daemons are the tests that start, restart or look into a daemon, or speak to
// its socket: where there is none they mean nothing.
var daemons = []string{
	"TestClientReconnect", "TestClientTTRPC_New", "TestClientTTRPC_Reconnect", "TestClientTTRPC_Close",
	"TestDaemonCustomCgroup", "TestDaemonReconnectsToShimIOPipesOnRestart", "TestDaemonRestart",
	"TestDaemonRestartWithRunningShim", "TestDaemonRuntimeRoot", "TestMigration",
	"TestContainerRestartPolicyAlways", "TestRestartMonitor", // a plugin of the daemon's
	"TestShimDoesNotLeakPipes", "TestShimDoesNotLeakSockets", "TestShimOOMScore", "TestShimSockLength", "TestShimTraceContextPropagation",
}
