package container

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/labels"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ctorhq/ctor/internal/engine"
	"github.com/ctorhq/ctor/internal/tasks"
)

// Labels in which a container's record keeps what a later program must know.
const (
	ownLabels        = "io.ctor."
	refLabel         = ownLabels + "image.ref"
	digestLabel      = ownLabels + "image.digest"
	stopSignalLabel  = ownLabels + "stop.signal"
	stopTimeoutLabel = ownLabels + "stop.timeout"
	emptyLabel       = ownLabels + "labels.empty"
	keptLabel        = engine.KeptLabel
	logLimitLabel    = ownLabels + "log.limit"
	detachedLabel    = tasks.DetachLabel
)

// checkLabels refuses names that others use, and what containerd can't keep.
func checkLabels(given map[string]string) error {
	for name, value := range given {
		if name == "" || strings.HasPrefix(name, ownLabels) || strings.HasPrefix(name, "containerd.io/") {
			return invalid("label %q: the name is reserved", name)
		}
		if !utf8.ValidString(name + value) {
			return invalid("label %.32q: it is not UTF-8", name)
		}
		if err := labels.Validate(name, value); err != nil {
			return fmt.Errorf("label %.32q: %w", name, err)
		}
	}
	return nil
}

// labels are those of the container's record.
func (b *builder) labels(img ocispec.Image) (map[string]string, error) {
	all := map[string]string{refLabel: b.ref, digestLabel: b.manifest.Digest.String()}
	var empty []string
	for name, value := range b.cfg.Labels {
		if value == "" {
			empty = append(empty, name) // containerd does not keep it
		}
		all[name] = value
	}
	if len(empty) > 0 {
		list, err := json.Marshal(empty)
		if err != nil {
			return nil, err
		}
		all[emptyLabel] = string(list)
	}
	signal := b.cfg.StopSignal
	if _, err := parseSignal(img.Config.StopSignal); signal == "" && err == nil {
		signal = img.Config.StopSignal // of one that is no signal nothing is said
	}
	all[stopSignalLabel] = signal
	if b.cfg.StopTimeout != 0 {
		all[stopTimeoutLabel] = b.cfg.StopTimeout.String()
	}
	if b.cfg.Detach {
		all[detachedLabel] = "true"
	}
	if b.cfg.Keep {
		all[keptLabel] = "true"
	}
	if b.cfg.LogLimit != 0 {
		all[logLimitLabel] = strconv.FormatInt(b.cfg.LogLimit, 10)
	}
	return all, nil
}

// userLabels are those that Config had.
func (c *Container) userLabels() map[string]string {
	given := maps.Clone(c.record.Labels)
	var empty []string
	if list := given[emptyLabel]; list != "" && json.Unmarshal([]byte(list), &empty) == nil {
		for _, name := range empty {
			given[name] = ""
		}
	}
	maps.DeleteFunc(given, func(name, _ string) bool { return strings.HasPrefix(name, ownLabels) })
	return given
}

// recordedLimit is the log's, as logfile.Create takes it.
func recordedLimit(record containers.Container) int64 {
	n, _ := strconv.ParseInt(record.Labels[logLimitLabel], 10, 64)
	return Config{LogLimit: n}.logLimit()
}

func (c *Container) stopTimeout() time.Duration {
	d, err := time.ParseDuration(c.record.Labels[stopTimeoutLabel])
	if err != nil {
		return 10 * time.Second
	}
	return d
}

func (c *Container) stopSignal() syscall.Signal {
	s, err := parseSignal(c.record.Labels[stopSignalLabel])
	if err != nil {
		return syscall.SIGTERM
	}
	return s
}
