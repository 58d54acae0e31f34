package build

import (
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// State is how far a step has come.
type State int

// The states of a step.
const (
	Waiting State = iota // for others
	Running
	Done   // it was done now
	Cached // it was done before
	Failed
)

// String names the state.
func (s State) String() string {
	return [...]string{"waiting", "running", "done", "cached", "failed"}[s]
}

// Progress is what is new of a step, or a remark about the Dockerfile. A step is
// told of when its state changes, and for each piece of its output.
type Progress struct {
	// Step numbers the build's steps, from 1, in the order in which they became
	// known. 0 is a remark.
	Step int

	// Name says what the step does, as "[build 2/3] RUN make". Steps that the
	// Dockerfile does not list have names in brackets, as "[internal] load build
	// context".
	Name string

	// State is how far it has come.
	State State

	// Took is how long it has run, once it is Done or Failed.
	Took time.Duration

	// Output is what the step's command wrote now, to stdout or stderr: bytes as
	// they came, not lines. Of more than two megabytes in all, or 200 kilobytes in a
	// second, only a part is told.
	Output []byte

	// Err is why it Failed.
	Err string

	// Remark is what a build check says of the Dockerfile
	// (https://docs.docker.com/reference/build-checks/), "" if this is no remark.
	Remark string

	// File and Line say what the remark is about; Line counts from 1.
	File string
	Line int
}

// report tells the caller of a build how it gets on.
type report struct {
	to    func(Progress) // nil: no one asks
	steps map[digest.Digest]*known
}

type known struct {
	number int
	name   string
	state  State
}

func newReport(to func(Progress)) *report {
	return &report{to: to, steps: map[digest.Digest]*known{}}
}

// add passes on what is new.
func (r *report) add(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		r.vertex(v)
	}
	if r.to == nil {
		return
	}
	for _, l := range s.Logs {
		k := r.step(l.Vertex, "")
		r.to(Progress{Step: k.number, Name: k.name, State: k.state, Output: l.Data})
	}
	for _, w := range s.Warnings {
		p := Progress{Remark: string(w.Short)}
		if w.SourceInfo != nil {
			p.File = w.SourceInfo.Filename
		}
		if len(w.Range) > 0 {
			p.Line = int(w.Range[0].Start.Line)
		}
		r.to(p)
	}
}

func (r *report) step(d digest.Digest, name string) *known {
	k := r.steps[d]
	if k == nil {
		k = &known{number: len(r.steps) + 1, name: name, state: -1}
		r.steps[d] = k
	}
	if name != "" {
		k.name = name
	}
	return k
}

func (r *report) vertex(v *client.Vertex) {
	k := r.step(v.Digest, v.Name)
	p := Progress{Step: k.number, Name: k.name, State: Waiting}
	switch {
	case v.Error != "":
		p.State, p.Err = Failed, v.Error
	case v.Cached:
		p.State = Cached
	case v.Completed != nil:
		p.State = Done
	case v.Started != nil:
		p.State = Running
	}
	if v.Completed != nil && v.Started != nil {
		p.Took = v.Completed.Sub(*v.Started)
	}
	// BuildKit tells the same again, and of a step that goes on after a pause, or is
	// done again when what is cached elsewhere is fetched.
	if p.State == k.state || k.state >= Done && p.State != Failed {
		return
	}
	k.state = p.State
	if r.to != nil {
		r.to(p)
	}
}

// name gives that of a step.
func (r *report) name(d string) string {
	if k := r.steps[digest.Digest(d)]; k != nil {
		return k.name
	}
	return ""
}
