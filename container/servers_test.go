package container_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Real servers, from the first connection to the end in good order.

func TestRedis(t *testing.T) {
	t.Parallel()
	img := fixture.Redis(t, containertest.Engine(t))
	c := containertest.Run(t, img, container.Config{Ready: container.All(
		container.TCP(6379),
		container.Log("Ready to accept connections", 1),
		container.Exec("redis-cli", "ping"),
	)})
	conn, err := c.Dial(t.Context(), "tcp", ":6379")
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "PING\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "+PONG\r\n", line)
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
	require.Contains(t, logs(t, c), "Redis is now ready to exit, bye bye...")

	_, err = img.Run(t.Context(), container.Config{
		Args:  []string{"redis-server", "--port", "nonsense"},
		Ready: container.TCP(6379),
	})
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.Code)
	require.ErrorContains(t, err, "FATAL CONFIG FILE ERROR")
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	img := fixture.Postgres(t, containertest.Engine(t))
	c := containertest.Run(t, img, container.Config{Ready: container.All(
		container.Log("database system is ready to accept connections", 1),
		container.Exec("pg_isready"),
	)})
	require.NoError(t, c.WaitReady(t.Context(), container.File("/var/lib/postgresql/15/main/postmaster.pid")))
	version, err := c.FS().ReadFile("var/lib/postgresql/15/main/PG_VERSION")
	require.NoError(t, err)
	require.Equal(t, "15\n", string(version))
	out, err := c.Command(t.Context(), "psql", "--host", "localhost", "--tuples-only", "--no-align", "--command", "SELECT 6*7").Output()
	require.NoError(t, err)
	require.Equal(t, "42\n", string(out))
	conn, err := c.Dial(t.Context(), "unix", "/run/postgresql/.s.PGSQL.5432")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Wait(t.Context()), "StopSignal is the image's")
	require.Contains(t, logs(t, c), "received fast shutdown request")
}

func TestNginx(t *testing.T) {
	t.Parallel()
	img := fixture.Nginx(t, containertest.Engine(t))
	c := containertest.Run(t, img, container.Config{Ready: container.HTTP("http://localhost/")})
	client := http.Client{Transport: &http.Transport{DialContext: c.Dial}}
	defer client.CloseIdleConnections()
	for n := range 3 {
		answer, err := client.Get(fmt.Sprintf("http://localhost/?%d", n))
		require.NoError(t, err)
		page, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Contains(t, string(page), "Welcome to nginx!")
	}
	// What is written into the live root is served.
	require.NoError(t, c.FS().WriteFile("var/www/html/new.html", []byte("news"), 0o644))
	answer, err := client.Get("http://localhost/new.html")
	require.NoError(t, err)
	page, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "news", string(page))
	require.NoError(t, c.WaitReady(t.Context(), container.All(
		container.File("/run/nginx.pid"),
		container.Log(`"GET /\?2 HTTP/1.1" 200`, 1),
		container.HTTP("http://localhost/missing", 404),
	)))
	err = container.HTTP("http://localhost/missing")(t.Context(), c)
	require.ErrorContains(t, err, "404 Not Found: <html>")
	client.CloseIdleConnections()
	require.NoError(t, c.Stop(t.Context()))
	require.NoError(t, c.Wait(t.Context()))
}

// Many servers at once on one port, none of which sees another.
func TestManyServers(t *testing.T) {
	t.Parallel()
	img := fixture.Redis(t, containertest.Engine(t))
	for n := range 10 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			c := containertest.Run(t, img, container.Config{Ready: container.TCP(6379)})
			ask := func(command string) string {
				out, err := c.Command(t.Context(), "redis-cli", strings.Fields(command)...).Output()
				require.NoError(t, err)
				return strings.TrimSpace(string(out))
			}
			require.Empty(t, ask("get who"))
			require.Equal(t, "OK", ask(fmt.Sprint("set who ", n)))
			require.Equal(t, fmt.Sprint(n), ask("get who"))
		})
	}
}

// A server that was frozen before it was ready is ready after.
func TestReadyAfterPause(t *testing.T) {
	t.Parallel()
	img := fixture.Redis(t, containertest.Engine(t))
	c := containertest.Run(t, img, container.Config{Args: []string{"sh", "-c", "echo begun; sleep 0.1; exec redis-server"}, Ready: container.Log("begun", 1)})
	require.NoError(t, c.Pause(t.Context()))
	asked, looked := never()
	ended := make(chan error)
	go func() { ended <- c.WaitReady(context.Background(), container.Any(asked, container.TCP(6379))) }()
	<-looked
	require.NoError(t, c.Resume(t.Context()))
	require.NoError(t, <-ended)
	require.NoError(t, c.Signal(t.Context(), syscall.SIGTERM))
	require.NoError(t, c.Wait(t.Context()))
}
