package ready

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
)

// Healthcheck is what an image says of how to tell whether its containers are
// healthy. OCI's configuration has no word for it; Docker's has, and image
// builders write it (Docker's image spec v1.2, "Healthcheck").
type Healthcheck struct {
	Args          []string
	Interval      time.Duration // between two looks
	Timeout       time.Duration // of one
	StartPeriod   time.Duration // in which a failure does not count
	StartInterval time.Duration // between two looks in it
	Retries       int           // failures in a row that mean unhealthy
}

// Docker's defaults (daemon/health.go).
const (
	healthInterval      = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
)

// The least times that checks have. An image may be anybody's, and each look costs the
// host some milliseconds of a processor.
const (
	leastInterval        = 10 * time.Millisecond
	leastIntervalOfImage = 100 * time.Millisecond
)

var errNoCheck = fmt.Errorf("the image has no HEALTHCHECK: %w", errdefs.ErrInvalidArgument)

// maxCheck is how long the command may be: as an argument for the kernel.
const maxCheck = 128 << 10

// healthcheckOf reads an image's configuration.
func healthcheckOf(config []byte) (*Healthcheck, error) {
	var image struct {
		Config struct {
			Healthcheck *struct {
				Test                                          []string
				Interval, Timeout, StartPeriod, StartInterval time.Duration
				Retries                                       int
			}
			Shell []string
		}
	}
	if err := json.Unmarshal(config, &image); err != nil {
		return nil, fmt.Errorf("the image's HEALTHCHECK can't be read: %w", err)
	}
	h := image.Config.Healthcheck
	if h == nil || len(h.Test) == 0 || h.Test[0] == "" || h.Test[0] == "NONE" {
		return nil, errNoCheck
	}
	size := 0
	for _, a := range slices.Concat(h.Test, image.Config.Shell) {
		size += len(a) + 1
	}
	args := h.Test[1:]
	switch kind := h.Test[0]; {
	case kind != "CMD" && kind != "CMD-SHELL":
		return nil, fmt.Errorf("the image's HEALTHCHECK is of an unknown kind, %.20q", kind)
	case len(args) == 0 || args[0] == "":
		return nil, fmt.Errorf("the image's HEALTHCHECK names no command")
	case size > maxCheck:
		return nil, fmt.Errorf("the image's HEALTHCHECK has %d bytes, more than %d", size, maxCheck)
	case kind == "CMD-SHELL" && len(image.Config.Shell) > 0:
		args = slices.Concat(image.Config.Shell, args)
	case kind == "CMD-SHELL":
		args = append([]string{"/bin/sh", "-c"}, args...)
	}
	return Healthcheck{args, h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries}.complete(leastIntervalOfImage), nil
}

// complete has Docker's default where a value is missing or can't be, and no time between
// looks, or for one, that is shorter than the least.
func (h Healthcheck) complete(least time.Duration) *Healthcheck {
	return &Healthcheck{
		Args:          h.Args,
		Interval:      max(positive(h.Interval, healthInterval), least),
		Timeout:       max(positive(h.Timeout, Limit), leastInterval),
		StartPeriod:   max(h.StartPeriod, 0),
		StartInterval: max(positive(h.StartInterval, healthStartInterval), least),
		Retries:       positive(h.Retries, healthRetries),
	}
}

func positive[T int | time.Duration](n, otherwise T) T {
	if n <= 0 {
		return otherwise
	}
	return n
}

// recorded is how a container's record has its image's check: the image may be
// deleted, and a later program may ask.
type recorded struct {
	Check *Healthcheck
	Error string // why there is none
}

// Record gives the check of an image's configuration for a container's record, nil
// if it has none. One that makes no sense is an error for those who read it.
func Record(config []byte) (json.RawMessage, error) {
	h, err := healthcheckOf(config)
	if errors.Is(err, errNoCheck) {
		return nil, nil
	}
	r := recorded{Check: h}
	if err != nil {
		r.Error = err.Error()
	}
	return json.Marshal(r)
}

// Keep is Record for a check that is not an image's.
func Keep(h Healthcheck) (json.RawMessage, error) {
	return json.Marshal(recorded{Check: h.complete(leastInterval)})
}

// Recorded reads what Record has given.
func Recorded(health json.RawMessage) (*Healthcheck, error) {
	if health == nil {
		return nil, errNoCheck
	}
	var r recorded
	if err := json.Unmarshal(health, &r); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if r.Check == nil {
		return nil, fmt.Errorf("%s: %w", r.Error, errdefs.ErrInvalidArgument)
	}
	return r.Check, nil
}
