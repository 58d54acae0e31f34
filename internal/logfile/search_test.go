package logfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// chunk is one that was written.
type chunk struct {
	at     time.Time
	stream Stream
	text   string
}

// model is what a reader should give.
func model(chunks []chunk, o Options) string {
	var all strings.Builder
	for _, c := range chunks {
		if (o.Stdout && c.stream == Stdout || o.Stderr && c.stream == Stderr) && !c.at.Before(o.Since) {
			all.WriteString(c.text)
		}
	}
	lines := strings.SplitAfter(all.String(), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	switch {
	case o.Tail < 0:
		return ""
	case o.Tail > 0:
		lines = lines[max(0, len(lines)-o.Tail):]
	}
	return strings.Join(lines, "")
}

// kept is which of the chunks a log still has.
func kept(t *testing.T, chunks []chunk, path string) []chunk {
	n := len(read(t, path, both))
	for i := len(chunks); ; i-- {
		if n == 0 {
			return chunks[i:]
		}
		n -= len(chunks[i-1].text)
		require.GreaterOrEqual(t, n, 0)
	}
}

// Whatever was written, readers choose from it as the model does.
func TestSearch(t *testing.T) {
	for name, test := range map[string]struct {
		limit int64
		size  int // of a chunk, at most
		count int
		line  int // on average
	}{
		"small":    {0, 20, 200, 7},
		"lines":    {0, 300, 10_000, 80},
		"chunks":   {0, chunkSize, 50, 1000},
		"no lines": {0, chunkSize, 50, 1 << 40},
		"newlines": {0, 1000, 400, 1},
		"bounded":  {MinLimit, 5000, 1500, 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := rand.New(rand.NewPCG(7, 7))
				w, path := create(t, test.limit)
				var chunks []chunk
				for range test.count {
					b := make([]byte, 1+source.IntN(test.size))
					for i := range b {
						b[i] = 'a' + byte(source.IntN(26))
						if source.IntN(test.line) == 0 {
							b[i] = '\n'
						}
					}
					time.Sleep(time.Duration(source.IntN(3)) * time.Second)
					c := chunk{time.Now(), Stdout + Stream(source.IntN(2)), string(b)}
					say(t, w, c.stream, c.text)
					chunks = append(chunks, c)
				}
				chunks = kept(t, chunks, path)
				for _, since := range []int{-1, 0, len(chunks) / 3, len(chunks)} {
					for _, tail := range []int{0, 1, 17, 5000, -1} {
						for _, o := range []Options{both, {Stdout: true}, {Stderr: true}} {
							o.Tail = tail
							switch {
							case since == len(chunks):
								o.Since = time.Now().Add(1)
							case since >= 0:
								o.Since = chunks[since].at
							}
							if got := read(t, path, o); got != model(chunks, o) {
								t.Fatalf("%+v: %d bytes instead of %d", o, len(got), len(model(chunks, o)))
							}
						}
					}
				}
				require.NoError(t, w.End())
				o := Options{Stdout: true, Tail: 3, Follow: true}
				require.Equal(t, model(chunks, o), read(t, path, o))
			})
		})
	}
}

// spoil overwrites a part of a log's first file: who reads it fails.
func spoil(t *testing.T, path string, from, to int64) {
	f, err := os.OpenFile(file(path, 1), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, int(to-from)), from)
	require.NoError(t, err)
}

// Last lines, and what came since a time, are found without reading the rest.
func TestSearchReadsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, path := create(t, 0)
		line := strings.Repeat("x", 999) + "\n"
		var at time.Time
		n := 20 * blockSize / (len(line) + headerSize)
		for i := range n {
			time.Sleep(time.Second)
			if i == n*9/10 {
				at = time.Now()
			}
			say(t, w, Stdout, line)
		}
		for i := range int64(16) { // all but the frames that blocks begin with
			spoil(t, path, i*blockSize+int64(len(line)+headerSize), (i+1)*blockSize)
		}
		require.Equal(t, strings.Repeat(line, 100), read(t, path, Options{Stdout: true, Tail: 100}))
		require.Len(t, read(t, path, Options{Stdout: true, Since: at}), (n-n*9/10)*len(line))
	})
}

// A log without a line takes no memory to look for one.
func TestSearchMemory(t *testing.T) {
	w, path := create(t, 0)
	require.NoError(t, w.Copy(Stdout, nil, &chunks{64 << 20, chunkSize}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := open(t, path, Options{Stdout: true, Tail: 10, Timestamps: true})
	_, err := r.Read(make([]byte, 1))
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, path := create(t, 0)
		for _, text := range []string{"one\ntw", "o", "\n\nth", "ree\nlast"} {
			time.Sleep(time.Second)
			say(t, w, Stdout, text)
		}
		began := time.Now().Add(-3 * time.Second).UTC()
		stamp := func(seconds int) string {
			s := began.Add(time.Duration(seconds) * time.Second).Format(stampLayout)
			_, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(s, " "))
			require.NoError(t, err)
			return s
		}
		want := fmt.Sprintf("%sone\n%stwo\n%s\n%sthree\n%slast", stamp(0), stamp(0), stamp(2), stamp(2), stamp(3))
		o := Options{Stdout: true, Timestamps: true}
		require.Equal(t, want, read(t, path, o))
		r := open(t, path, o)
		var byByte []byte
		for b := make([]byte, 1); ; {
			n, err := r.Read(b)
			if err != nil {
				break
			}
			byByte = append(byByte, b[:n]...)
		}
		require.Equal(t, want, string(byByte))
		o.Tail = 2
		require.Equal(t, stamp(2)+"three\n"+stamp(3)+"last", read(t, path, o))
		require.NoError(t, w.End())
	})
}

// A clock that is set back does not make the log forget where things are.
func TestClockSetBack(t *testing.T) {
	w, path := create(t, 0)
	w.time = time.Now().Add(time.Hour).UnixNano()
	say(t, w, Stdout, "one\n")
	r := open(t, path, Options{Stdout: true, Since: time.Now().Add(30 * time.Minute)})
	b := make([]byte, 4)
	_, err := r.Read(b)
	require.NoError(t, err)
	require.Equal(t, "one\n", string(b))
}
