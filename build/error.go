package build

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"

	ctor "github.com/ctorhq/ctor"
)

// Error is why a Dockerfile could not be built, and where.
type Error struct {
	File        string // of the Dockerfile, in the context; "" if it is about none
	Line        int    // of the instruction, from 1; 0 if it is about none
	Instruction string // as the file has it

	// ExitCode is that of the instruction's command, if it is a RUN whose command has
	// failed: 128+n where signal n ended it, 127 where it is not there. Else 0.
	ExitCode int

	// OOMKilled tells that the kernel has killed a process of the command for want
	// of memory.
	OOMKilled bool

	// Output is the last that the command wrote, of stdout and stderr: up to 20
	// lines, and 8 KiB.
	Output []byte

	// Err is what went wrong.
	Err error
}

// Error says where and what; of a command, also the last line that it wrote.
func (e *Error) Error() string {
	var s strings.Builder
	if e.File != "" {
		s.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&s, ":%d", e.Line)
		}
		s.WriteString(": ")
	}
	if e.Instruction != "" {
		first, _, more := strings.Cut(e.Instruction, "\n")
		if s.WriteString(strings.TrimSuffix(strings.TrimSpace(first), `\`)); more {
			s.WriteString("...")
		}
		s.WriteString(": ")
	}
	s.WriteString(e.Err.Error())
	return s.String()
}

// Unwrap gives what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// explain makes an *Error of the solver's, for the Dockerfile called file. step gives
// the name of one of its steps.
func explain(err error, file string, text func() string, step func(digest string) string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &Error{Err: classed(err)}
	var c *commandError
	if errors.As(err, &c) {
		e.ExitCode, e.OOMKilled, e.Output, e.Err = c.code, c.oom, c.said, c
	}
	for _, s := range errdefs.Sources(err) {
		if s.Info == nil || len(s.Ranges) == 0 {
			continue
		}
		e.File = s.Info.Filename
		e.Line, e.Instruction = lines(string(s.Info.Data), s.Ranges)
		if e.File == "Dockerfile" || e.File == contextDir || e.File == "" { // a context that is the Dockerfile is the second
			e.File = file
		}
	}
	// The frontend does not say everywhere what a step was made of.
	var v *errdefs.VertexError
	if e.File == "" && errors.As(err, &v) {
		if name := step(v.GetDigest()); strings.HasPrefix(name, "[") && !strings.HasPrefix(name, "[internal]") {
			_, e.Instruction, _ = strings.Cut(name, "] ")
			e.File, e.Line = file, lineOf(text(), e.Instruction)
		}
	}
	return e
}

// lineOf finds an instruction in a Dockerfile; 0 if it is not there just once.
func lineOf(text, instruction string) (found int) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.Join(strings.Fields(line), " ") != instruction {
			continue
		}
		if found > 0 {
			return 0
		}
		found = n
	}
	return found
}

// lines gives those of a Dockerfile's text that ranges are about, and the number of
// the first.
func lines(text string, ranges []*pb.Range) (line int, excerpt string) {
	if len(ranges) == 0 {
		return 0, ""
	}
	first, last := ranges[0].Start.Line, ranges[0].End.Line
	for _, r := range ranges {
		first, last = min(first, r.Start.Line), max(last, lastOf(r))
	}
	all := strings.Split(text, "\n")
	if first < 1 || int(first) > len(all) {
		return 0, ""
	}
	last = min(max(first, last), int32(len(all)))
	return int(first), strings.TrimSpace(strings.Join(all[first-1:last], "\n"))
}

func lastOf(r *pb.Range) int32 { return max(r.Start.Line, r.End.Line) }

// classed gives an error of the frontend its class: what it finds wrong with a
// Dockerfile comes without one.
func classed(err error) error {
	for _, class := range []error{ctor.ErrNotFound, ctor.ErrInvalid, ctor.ErrUnavailable, ctor.ErrAlreadyExists} {
		if errors.Is(err, class) {
			return err
		}
	}
	switch grpcerrors.Code(err) {
	case codes.NotFound:
		return fmt.Errorf("%w (%w)", err, ctor.ErrNotFound)
	case codes.Unavailable:
		return fmt.Errorf("%w (%w)", err, ctor.ErrUnavailable)
	}
	return err
}
