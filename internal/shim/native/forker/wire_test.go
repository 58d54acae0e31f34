package forker

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Both sides have the same numbers for the same words.
func TestWire(t *testing.T) {
	header, err := os.ReadFile("c/wire.h")
	require.NoError(t, err)
	theirs := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\t((?:OP|TARGET)_[A-Z_]+) = (\d+)`).FindAllStringSubmatch(string(header), -1) {
		theirs[m[1]], err = strconv.Atoi(m[2])
		require.NoError(t, err)
	}
	require.Equal(t, map[string]int{
		"OP_DEATH_SIGNAL": opDeathSignal, "OP_SESSION": opSession, "OP_CGROUPS": opCgroups, "OP_JOIN": opJoin,
		"OP_UNSHARE": opUnshare, "OP_ROOT": opRoot, "OP_ATTACH": opAttach, "OP_MOUNT": opMount, "OP_CHANGE": opChange,
		"OP_NODE": opNode, "OP_LINK": opLink, "OP_LINK_NEW": opLinkNew, "OP_READ_ONLY": opReadOnly, "OP_MASK": opMask,
		"OP_READ_ONLY_ROOT": opReadOnlyRoot, "OP_SETTING": opSetting, "OP_OWN_SETTING": opOwnSetting, "OP_PIVOT": opPivot,
		"OP_HOST_NAME": opHostName, "OP_DOMAIN_NAME": opDomainName, "OP_LOOPBACK": opLoopback, "OP_KEYRING": opKeyring,
		"OP_LIMIT": opLimit, "OP_STREAMS": opStreams, "OP_TERMINAL": opTerminal, "OP_OWN_STREAMS": opOwnStreams,
		"OP_BOUNDING": opBounding, "OP_USER": opUser, "OP_CAPABILITIES": opCapabilities,
		"OP_NO_NEW_PRIVILEGES": opNoNewPrivileges, "OP_FILTER": opFilter, "OP_DIRECTORY": opDirectory, "OP_FIND": opFind,
		"OP_UMASK": opUmask, "OP_CLOSE": opClose, "OP_READY": opReady, "OP_EXECUTE": opExecute, "OP_PERSONALITY": opPersonality, "OP_REST": opRest, "OP_MORE": opMore, "OP_GROUPS": opGroups,
		"TARGET_DIRECTORY": int(Directory), "TARGET_FILE": int(File), "TARGET_NO_LINKS": int(NoLinks),
		"TARGET_MODE": int(Mode), "TARGET_IN_PROC": int(InProc), "TARGET_KEEP": int(Keep),
	}, theirs)
}
