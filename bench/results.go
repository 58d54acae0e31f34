package main

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// results are everything that was measured. Times are in milliseconds.
type results struct {
	Date    time.Time         `json:"date"`
	Machine machine           `json:"machine"`
	Version map[string]string `json:"versions"`
	Rounds  int               `json:"rounds"`
	Missing []absent          `json:"missing"`
	Life    []series          `json:"life_ms"`
	Phases  []series          `json:"phases_ms"`
	Warm    []series          `json:"warm_ms"`
	Exec    []series          `json:"exec_ms"`
	Rate    []rate            `json:"lives_per_second"`
	Soak    []soak            `json:"soak"`
	Idle    []idle            `json:"idle"`
	Open    []series          `json:"open_ms"`
	Pull    []pull            `json:"pull"`
}

// series are samples of one thing.
type series struct {
	Name    string    `json:"name"`
	Samples []float64 `json:"samples"`
}

// rate is how many lives a second a number of goroutines had, and how long each
// life took.
type rate struct {
	Peer       string    `json:"peer"`
	Goroutines int       `json:"goroutines"`
	PerSecond  []float64 `json:"per_second"`
	LifeMs     []float64 `json:"life_ms"`
}

// soak is how lives went for a long time.
type soak struct {
	Peer       string    `json:"peer"`
	Goroutines int       `json:"goroutines"`
	Failures   int       `json:"failures"`
	First      string    `json:"first_failure,omitempty"`
	PerSecond  []float64 `json:"per_second"` // of each part
	LifeMs     []float64 `json:"life_ms"`
	Weights    []weight  `json:"weights"` // before, and after each part
}

// weight is what a program and its shim have.
type weight struct {
	ProgramKiB int `json:"program_pss_kib"`
	ShimKiB    int `json:"shim_pss_kib"`
	Files      int `json:"open_files"` // of both
}

// idle is the memory that containers cost beside their own.
type idle struct {
	Peer       string  `json:"peer"`
	Containers int     `json:"containers"`
	Helpers    int     `json:"helpers"`
	HelperKiB  int     `json:"helper_pss_kib"`
	DaemonKiB  int     `json:"daemon_growth_kib"` // this program's, for an engine
	Seconds    float64 `json:"start_seconds"`     // that all took to start, eight at a time
}

// pull is what pulls of an image of one shape took.
type pull struct {
	Shape   string   `json:"shape"` // layers x MiB each, unpacked
	Times   []series `json:"pull_ms"`
	CPU     []series `json:"pull_cpu_ms"`   // processor time of all that takes part, without the registry
	PeakMiB []series `json:"pull_peak_mib"` // growth of this process
}

// absent is a peer that could not be measured.
type absent struct {
	Peer string `json:"peer"`
	Why  string `json:"why"`
}

func newResults(o options) *results {
	return &results{Date: time.Now().UTC(), Machine: thisMachine(), Version: versions(), Rounds: o.rounds, Missing: []absent{}}
}

// write stores them as JSON.
func (r *results) write(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// open adds a sample of the opening of an engine.
func (r *results) open(name string, d time.Duration) {
	n := slices.IndexFunc(r.Open, func(s series) bool { return s.Name == name })
	if n < 0 {
		n = len(r.Open)
		r.Open = append(r.Open, series{Name: name})
	}
	r.Open[n].Samples = append(r.Open[n].Samples, milli(d))
}

// sortPhases puts the steps of a life in their order.
func (r *results) sortPhases() {
	order := []string{"New", "Start", "Wait", "Close"}
	step := func(s series) int { return slices.Index(order, s.Name[strings.LastIndex(s.Name, " ")+1:]) }
	peer := func(s series) string { return s.Name[:strings.LastIndex(s.Name, ":")] }
	slices.SortStableFunc(r.Phases, func(a, b series) int {
		return cmp.Or(cmp.Compare(peer(a), peer(b)), cmp.Compare(step(a), step(b)))
	})
}

// find gives the series of a name.
func find(all []series, name string) (series, bool) {
	n := slices.IndexFunc(all, func(s series) bool { return s.Name == name })
	if n < 0 {
		return series{}, false
	}
	return all[n], true
}

func (s series) median() float64 { return quantile(s.Samples, 0.5) }
func (s series) p90() float64    { return quantile(s.Samples, 0.9) }

// quantile gives the sample below which a share of them lies.
func quantile(samples []float64, share float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(samples))
	at := share * float64(len(s)-1)
	low := int(at)
	high := min(low+1, len(s)-1)
	return s[low] + (s[high]-s[low])*(at-float64(low))
}

func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func millis(all []time.Duration) []float64 {
	var ms []float64
	for _, d := range all {
		ms = append(ms, milli(d))
	}
	return ms
}
