package forker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The programs that come with the library are what the sources say: those of this
// directory, and byte for byte, where there are the compilers that made them.
func TestBuilt(t *testing.T) {
	of, err := os.ReadFile("built/of")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(of)), "\n")
	require.Len(t, lines, 3)
	sources, err := filepath.Glob("c/*")
	require.NoError(t, err)
	sum := sha256.New()
	for _, name := range sources {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		sum.Write(b)
	}
	require.Equal(t, hex.EncodeToString(sum.Sum(nil)), lines[2], "the sources have changed: make forker")
	for _, line := range lines[:2] {
		_, with, _ := strings.Cut(line, " ")
		compiler, _, _ := strings.Cut(with, " ")
		out, err := exec.Command(compiler, "--version").Output()
		if err != nil || !strings.HasPrefix(string(out), with+"\n") {
			t.Skipf("the compiler is another than %s", with)
		}
	}
	dir := t.TempDir()
	out, err := exec.Command("../../../../hack/forker", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range []string{"amd64", "arm64", "of"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		have, err := os.ReadFile(filepath.Join("built", name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, have), "built/%s is not what the sources are: make forker", name)
	}
}

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
		"OP_UMASK": opUmask, "OP_CLOSE": opClose, "OP_READY": opReady, "OP_EXECUTE": opExecute, "OP_PERSONALITY": opPersonality, "OP_REST": opRest,
		"TARGET_DIRECTORY": int(Directory), "TARGET_FILE": int(File), "TARGET_NO_LINKS": int(NoLinks),
		"TARGET_MODE": int(Mode), "TARGET_IN_PROC": int(InProc), "TARGET_KEEP": int(Keep),
	}, theirs)
}
