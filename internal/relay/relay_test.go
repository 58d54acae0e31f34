package relay

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tcp gives the two ends of a connection.
func tcp(t testing.TB) (net.Conn, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	b, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// unixPair gives the two ends of a stream inside this program.
func unixPair(t testing.TB) (net.Conn, net.Conn) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	require.NoError(t, err)
	defer l.Close()
	a, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	b, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// shouting is a connection with a Read of its own.
type shouting struct{ *net.TCPConn }

func (s shouting) Read(b []byte) (int, error) {
	n, err := s.TCPConn.Read(b)
	copy(b, bytes.ToUpper(b[:n]))
	return n, err
}

// The ends see what they would see without anything between them, whatever kinds
// of connections they are.
func TestJoin(t *testing.T) {
	for name, pair := range map[string]func(testing.TB) (net.Conn, net.Conn){
		"tcp": tcp, "unix": unixPair,
		"wrapped": func(t testing.TB) (net.Conn, net.Conn) { a, b := tcp(t); return a, shouting{b.(*net.TCPConn)} },
	} {
		t.Run(name, func(t *testing.T) {
			client, in := tcp(t)
			server, out := pair(t)
			done := make(chan struct{})
			go func() { defer close(done); Join(in, out) }()
			sent := strings.Repeat("hello ", 300_000)
			go func() {
				_, _ = io.WriteString(client, sent)
				_ = client.(*net.TCPConn).CloseWrite()
			}()
			got, err := io.ReadAll(server) // its end goes on as an end
			require.NoError(t, err)
			require.Equal(t, sent, string(got))
			go func() {
				_, _ = io.WriteString(server, sent)
				server.Close()
			}()
			got, err = io.ReadAll(client)
			require.NoError(t, err)
			if name == "wrapped" {
				sent = strings.ToUpper(sent)
			}
			require.Equal(t, sent, string(got))
			client.Close()
			<-done
		})
	}
}

// counting is a connection that would count the bytes that it passes on.
type counting struct {
	net.Conn
	received, sent, read atomic.Int64
}

func (c *counting) NetConn() net.Conn { return c.Conn }

func (c *counting) Count(received, sent int64) { c.received.Add(received); c.sent.Add(sent) }

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// What counts a connection's bytes is told of them and is not in their way, also where it
// stands behind another or before what is more than a socket; and a connection that is
// broken off is so for what is behind it.
func TestJoinCounted(t *testing.T) {
	for _, socket := range []bool{true, false} {
		client, in := tcp(t)
		server, out := tcp(t)
		if !socket {
			out = shouting{out.(*net.TCPConn)}
		}
		inner := &counting{Conn: out}
		outer := &counting{Conn: inner}
		done := make(chan struct{})
		go func() { defer close(done); Join(in, outer) }()
		for _, c := range []net.Conn{client, server} {
			_, err := io.WriteString(c, "hello")
			require.NoError(t, err)
		}
		for _, c := range []net.Conn{client, server} {
			_, err := io.ReadFull(c, make([]byte, 5))
			require.NoError(t, err)
		}
		_, err := io.WriteString(client, "!")
		require.NoError(t, err)
		_, err = io.ReadFull(server, make([]byte, 1))
		require.NoError(t, err)
		_ = server.(*net.TCPConn).SetLinger(0)
		server.Close()
		_, err = client.Read(make([]byte, 1))
		if socket {
			require.ErrorIs(t, err, unix.ECONNRESET)
		} else {
			require.Error(t, err)
		}
		<-done
		for _, c := range []*counting{inner, outer} {
			require.EqualValues(t, 5, c.received.Load())
			require.EqualValues(t, 6, c.sent.Load())
			require.Zero(t, c.read.Load())
		}
	}
}

// What breaks one end off breaks the other, also while it waits for a reader.
func TestJoinReset(t *testing.T) {
	for _, full := range []bool{false, true} {
		client, in := tcp(t)
		server, out := tcp(t)
		done := make(chan struct{})
		go func() { defer close(done); Join(in, out) }()
		if full {
			_ = client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			for err := error(nil); err == nil; {
				_, err = client.Write(make([]byte, 64<<10))
			}
		}
		_ = server.(*net.TCPConn).SetLinger(0)
		server.Close()
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, unix.ECONNRESET)
		<-done
	}
}

// An end that reads later, and little at a time, gets all of it.
func TestJoinSlow(t *testing.T) {
	client, in := tcp(t)
	server, out := tcp(t)
	_ = out.(*net.TCPConn).SetWriteBuffer(4 << 10)
	go Join(in, out)
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	sent := 0
	_ = client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for err := error(nil); err == nil; { // until nothing moves
		var n int
		n, err = client.Write(block)
		sent += n
	}
	_ = client.SetWriteDeadline(time.Time{})
	go func() {
		_, _ = client.Write(block[sent%len(block):])
		client.Close()
	}()
	got, err := io.ReadAll(little{server})
	require.NoError(t, err)
	require.Len(t, got, (sent/len(block)+1)*len(block))
	require.Equal(t, len(got)/16, bytes.Count(got, block[:16]))
}

// little reads little at a time.
type little struct{ io.Reader }

func (s little) Read(b []byte) (int, error) { return s.Reader.Read(b[:min(len(b), 1000)]) }

// A flow goes on as long as one direction is in use.
func TestDatagramsIdle(t *testing.T) {
	pair := func() (net.Conn, net.Conn) {
		p, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		a, err := net.Dial("udp", p.LocalAddr().String())
		require.NoError(t, err)
		at := p.LocalAddr().(*net.UDPAddr)
		p.Close()
		b, err := net.DialUDP("udp", at, a.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		t.Cleanup(func() { a.Close(); b.Close() })
		return a, b
	}
	client, in := pair()
	server, out := pair()
	done := make(chan struct{})
	const idle = 300 * time.Millisecond
	go func() { defer close(done); JoinDatagrams(in, out, idle) }()
	begin := time.Now()
	for n := 0; time.Since(begin) < 4*idle; n++ {
		_, err := server.Write([]byte{byte(n)})
		require.NoError(t, err)
		b := make([]byte, 10)
		_, err = client.Read(b)
		require.NoError(t, err)
		require.EqualValues(t, byte(n), b[0])
	}
	<-done // and ends when neither is
}

// A dialer that hangs holds up the flow that it is for, and what comes meanwhile
// is not lost.
func TestDatagramsDialer(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	echo, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer echo.Close()
	go func() {
		b := make([]byte, Largest)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(b[:n], from)
		}
	}()
	var calls atomic.Int64
	release := make(chan struct{})
	s := ServeDatagrams(p, func(ctx context.Context) (net.Conn, error) {
		if calls.Add(1) == 1 {
			select {
			case <-release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return net.Dial("udp", echo.LocalAddr().String())
	})
	defer s.Close()
	first, err := net.Dial("udp", s.Addr().String())
	require.NoError(t, err)
	defer first.Close()
	for _, b := range []string{"1", "2"} {
		_, err = io.WriteString(first, b)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return calls.Load() == 1 }, 30*time.Second, time.Millisecond)
	var others sync.WaitGroup
	for range 20 {
		others.Go(func() {
			c, err := net.Dial("udp", s.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = c.Write([]byte("x"))
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	others.Wait()
	close(release)
	for _, want := range []string{"1", "2"} {
		b := make([]byte, 1)
		_ = first.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, err := first.Read(b)
		require.NoError(t, err)
		require.Equal(t, want, string(b))
	}
}

// Senders without end, and a dialer that has none, cost what was agreed on.
func TestDatagramsFlood(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := ServeDatagrams(p, func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() })
	before := runtime.NumGoroutine()
	for range 3 * mostFlows {
		c, err := net.Dial("udp", s.Addr().String())
		require.NoError(t, err)
		_, _ = c.Write(make([]byte, 8<<10))
		c.Close()
	}
	require.LessOrEqual(t, runtime.NumGoroutine()-before, mostFlows+10)
	require.LessOrEqual(t, s.waiting.Load(), int64(mostWaiting))
	require.NoError(t, s.Close())
	require.Zero(t, s.waiting.Load())
}

// One connection more than there may be is reset, and there is room again when
// one has ended.
func TestServeBounds(t *testing.T) {
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: old.Max}))
	t.Cleanup(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) })
	require.Equal(t, 32, Connections())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := Serve(l, func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(there, there) }()
		return here, nil
	})
	defer s.Close()
	echo := func() (net.Conn, error) {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			return nil, err
		}
		_, _ = c.Write([]byte("x"))
		if _, err = c.Read(make([]byte, 1)); err != nil {
			c.Close()
		}
		return c, err
	}
	var open []net.Conn
	for range 32 {
		c, err := echo()
		require.NoError(t, err)
		open = append(open, c)
	}
	_, err = echo()
	require.ErrorIs(t, err, unix.ECONNRESET)
	for _, c := range open {
		c.Close()
	}
	require.Eventually(t, func() bool {
		c, err := echo()
		if err != nil {
			return false
		}
		c.Close()
		return true
	}, 30*time.Second, time.Millisecond)
}
