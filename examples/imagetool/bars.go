package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bars show how things get on: on a terminal a bar for each, elsewhere a line for
// each that is done.
type bars struct {
	to   io.Writer
	bars *mpb.Progress // nil: no terminal

	mu  sync.Mutex
	all map[string]*bar
}

type bar struct {
	*mpb.Bar              // nil: no terminal
	what     atomic.Value // that is being done: a string
	done     bool
}

func newBars(to io.Writer) *bars {
	b := &bars{to: to, all: map[string]*bar{}}
	if f, ok := to.(*os.File); ok {
		if i, err := f.Stat(); err == nil && i.Mode()&os.ModeCharDevice != 0 {
			b.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
		}
	}
	return b
}

// show moves the bar of a name: what is done to it, how far that is, and whether it is
// the last that will be.
func (b *bars) show(name, what string, n, total int64, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.all[name]
	if one == nil {
		one = b.add(name, total)
		b.all[name] = one
	}
	if one.done {
		return
	}
	one.what.Store(what)
	if one.done = done; b.bars == nil {
		if done {
			fmt.Fprintf(b.to, "%s  %-10s  %s\n", name, what, size(total))
		}
		return
	}
	if one.SetCurrent(n); done {
		one.SetTotal(-1, true)
	}
}

func (b *bars) add(name string, total int64) *bar {
	one := new(bar)
	one.what.Store("waiting")
	if b.bars == nil {
		return one
	}
	// Without a total it is not complete before it is told so: when all has come, there
	// is more to do.
	one.Bar = b.bars.New(0, mpb.BarStyle().Lbound("▕").Filler("█").Tip("▌").Padding(" ").Rbound("▏"),
		mpb.PrependDecorators(
			decor.Name(name, decor.WCSyncSpaceR),
			decor.Any(func(decor.Statistics) string { return one.what.Load().(string) }, decor.WCSyncSpaceR),
		),
		mpb.AppendDecorators(
			decor.Any(func(s decor.Statistics) string { return size(s.Current) + " of " + size(total) }, decor.WCSyncSpace),
			decor.OnComplete(decor.AverageSpeed(decor.SizeB1000(0), "% .1f", decor.WCSyncSpace), ""),
		))
	one.SetTotal(total, false)
	return one
}

// end leaves the bars as they are. What is not done is not going to be.
func (b *bars) end() {
	if b.bars == nil {
		return
	}
	b.mu.Lock()
	for _, one := range b.all {
		if !one.done {
			one.Abort(false)
		}
	}
	b.mu.Unlock()
	b.bars.Wait()
}

// short is a digest's first twelve digits, as docker shows it.
func short(digest fmt.Stringer) string {
	_, hex, _ := strings.Cut(digest.String(), ":")
	return hex[:min(len(hex), 12)]
}
