package ctor_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// flags are those of docker run and docker create that the page has to explain: of
// Docker 28.2, by docs.docker.com/reference/cli/docker/container/run. Where docker is
// installed its own are looked at too.
const flags = `add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent
cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus
cpuset-mems detach detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps
device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose gpus
group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout help
hostname init interactive io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label label-file link
link-local-ip log-driver log-opt mac-address memory memory-reservation memory-swap memory-swappiness mount name
network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish
publish-all pull quiet read-only restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout
storage-opt sysctl tmpfs tty ulimit use-api-socket user userns uts volume volume-driver volumes-from workdir`

func TestDockerFlags(t *testing.T) {
	page, err := os.ReadFile("docs/from-docker.md")
	require.NoError(t, err)
	all := strings.Fields(flags)
	for _, verb := range []string{"run", "create"} {
		help, err := exec.Command("docker", verb, "--help").Output()
		if err != nil {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?\s*--([a-z0-9-]+)`).FindAllStringSubmatch(string(help), -1) {
			all = append(all, m[1])
		}
	}
	slices.Sort(all)
	for _, f := range slices.Compact(all) {
		require.Regexp(t, "`--"+f+"`", string(page), "docs/from-docker.md does not say what --%s is", f)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| [^|]*`--([a-z0-9-]+)`").FindAllStringSubmatch(string(page), -1) {
		require.Contains(t, all, m[1], "docs/from-docker.md explains a flag that there is not")
	}
}

// snippet is what a fenced block of a page is compiled in.
const snippet = `package snippets

import (
	"context"
	"os"
	"testing"
	"time"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/network"
	"github.com/ctorhq/ctor/volume"
)

var (
	_ = os.Getenv
	_ = time.Now
	_ container.Config
	_ = containertest.Run
	_ egress.Mux
	_ = image.Get
	_ network.Config
	_ volume.Volume
)

func _(t *testing.T, ctx context.Context, e *ctor.Engine, img *image.Image, c *container.Container) error {
	{
%s
	}
	return nil
}
`

// The lines of Go on pages for those who come from elsewhere compile.
func TestSnippets(t *testing.T) {
	fence := regexp.MustCompile("(?s)```go\n(.*?)```")
	root, err := filepath.Abs(".")
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	for _, page := range []string{"docs/from-docker.md", "docs/from-testcontainers.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		blocks := fence.FindAllSubmatch(text, -1)
		require.NotEmpty(t, blocks, page)
		for n, b := range blocks {
			code := string(b[1])
			name := fmt.Sprintf("%s-%d.go", filepath.Base(page), n)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, snippet, code), 0o600))
			replace[filepath.Join(root, "docs", "snippets", name)] = filepath.Join(dir, name)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(list, overlay, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "./docs/snippets").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
