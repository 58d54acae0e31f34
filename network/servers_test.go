package network_test

import (
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/network"
)

// postgresql is a server whose clients come by a network. before is a script that runs
// first.
func postgresql(before string, settings ...string) container.Config {
	const server = `
		printf 'local all all trust\nhost all all all trust\nhost replication all all trust\n' >/tmp/hba
		exec postgres -c config_file=/etc/postgresql/main/postgresql.conf -c hba_file=/tmp/hba -c listen_addresses='*' `
	for i, s := range settings {
		settings[i] = "-c " + s
	}
	return container.Config{
		Args:  []string{"sh", "-ec", before + server + strings.Join(settings, " ")},
		Ready: container.Exec("pg_isready", "--quiet"),
	}
}

// sql has a container's client ask a server.
func sql(t *testing.T, c *container.Container, host, statement string) string {
	t.Helper()
	out, err := c.Command(t.Context(), "psql", "--host", host, "--tuples-only", "--no-align", "--quiet", "--command", statement).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// follows waits until a replica gives an answer.
func follows(t *testing.T, c *container.Container, statement, want string) {
	t.Helper()
	script := fmt.Sprintf(`until [ "$(psql -Atqc '%s' 2>/dev/null)" = '%s' ]; do sleep 0.1; done`, statement, want)
	out, err := c.Command(t.Context(), "sh", "-c", script).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// A PostgreSQL has a replica in its network, which finds it by name, follows it into its
// next life, and takes its place.
func TestPostgresReplica(t *testing.T) {
	t.Parallel()
	img := fixture.Postgres(t, containertest.Engine(t))
	n := open(t, network.Config{})
	cfg := postgresql("")
	cfg.Network = n.Join("primary")
	primary := containertest.Run(t, img, cfg)
	require.Empty(t, sql(t, primary, "localhost", "CREATE TABLE t AS SELECT generate_series(1, 20000) AS i"))

	cfg = postgresql("pg_basebackup --host primary --pgdata /tmp/replica --write-recovery-conf --wal-method stream --checkpoint fast\n", "data_directory=/tmp/replica")
	cfg.Network = n.Join("replica")
	replica := containertest.Run(t, img, cfg)
	require.Equal(t, "t", sql(t, replica, "localhost", "SELECT pg_is_in_recovery()"))
	follows(t, replica, "SELECT count(*) FROM t", "20000")
	require.Equal(t, "streaming", sql(t, replica, "primary", "SELECT state FROM pg_stat_replication"))
	require.Equal(t, "20000", sql(t, primary, "replica", "SELECT count(*) FROM t"), "and back")

	require.NoError(t, primary.Stop(t.Context()))
	require.NoError(t, primary.Wait(t.Context()))
	require.NoError(t, primary.Start(t.Context()))
	require.NoError(t, primary.WaitReady(t.Context(), container.Exec("pg_isready", "--quiet")))
	require.Empty(t, sql(t, replica, "primary", "INSERT INTO t VALUES (-1)"))
	follows(t, replica, "SELECT min(i) FROM t", "-1")

	require.NoError(t, primary.Close())
	require.Equal(t, "t", sql(t, replica, "localhost", "SELECT pg_promote()"))
	require.Empty(t, sql(t, replica, "replica", "INSERT INTO t VALUES (-2)"))
	require.Equal(t, "-2", sql(t, replica, "localhost", "SELECT min(i) FROM t"))
}

// An nginx serves by its published ports under load: many requests by each connection, a
// connection for each request, and long answers. Its neighbours reach it meanwhile.
func TestNginxPublished(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("wrk"); err != nil && !testing.Short() {
		t.Skipf("%v: hack/setup test", err)
	}
	img := fixture.Nginx(t, containertest.Engine(t))
	n := open(t, network.Config{})
	c := containertest.Run(t, img, container.Config{
		Network: n.Join("web"),
		Publish: []container.Port{{Container: 80}, {Host: "[::1]:0", Container: 80}},
		Ready:   container.HTTP("http://localhost/"),
	})
	require.NoError(t, c.FS().WriteFile("var/www/html/large", make([]byte, 1<<20), 0o644))
	client := idle(t, n.Join())
	at := c.Addr(80).(*net.TCPAddr)
	for _, load := range [][]string{
		{"/", "--connections", "64"},
		{"/", "--connections", "64", "--header", "Connection: close"},
		{"/large", "--connections", "8"},
	} {
		said, err := exec.Command("wrk", append([]string{"--threads", "2", "--duration", "1s", "--timeout", "30s", "http://" + at.String() + load[0]}, load[1:]...)...).CombinedOutput()
		require.NoError(t, err, "%s", said)
		require.NotContains(t, string(said), "Socket errors", load)
		require.NotContains(t, string(said), "Non-2xx", load)
		served := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(said)
		require.NotNil(t, served, "%s", said)
		count, err := strconv.Atoi(string(served[1]))
		require.NoError(t, err)
		require.Positive(t, count)
		t.Logf("%v: %s", load, regexp.MustCompile(`(?m)^Requests/sec.*$|^Transfer/sec.*$`).FindAllString(string(said), -1))
		require.Contains(t, say(t, client, "wget -q -O - http://web/"), "Welcome to nginx!")
	}
	require.Contains(t, say(t, client, "wget -q -O - http://web."+n.Name()+"/"), "Welcome to nginx!")
}
