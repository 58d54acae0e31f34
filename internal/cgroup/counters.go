package cgroup

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Counters are what a cgroup of either version tells, as the public Stats has it.
type Counters struct {
	Time                                   time.Time
	CPU, CPUUser, CPUSystem, CPUThrottled  time.Duration
	Memory, MemoryPeak, MemoryLimit        int64
	Pids, PidsLimit                        int64
	ReadBytes, WrittenBytes, Reads, Writes int64
}

// Where each version has the CPU time used: the whole file, and one word of it.
var (
	usage1 = file{"cpuacct", "cpuacct.usage"}
	usage2 = file{"cpu", "cpu.stat"}
)

// CPU reads how much CPU time has been used in the cgroup, and nothing else.
func (g Group) CPU() (time.Duration, error) {
	f := usage1
	if unified() {
		f = usage2
	}
	dir := g.Dir(f.controller)
	if dir == "" {
		return 0, errNone
	}
	b, err := os.ReadFile(filepath.Join(dir, f.name))
	if err != nil {
		return 0, err
	}
	if unified() {
		return time.Duration(after(b, "usage_usec")) * time.Microsecond, nil
	}
	return time.Duration(number(b)), nil
}

// count reads the counters of a version.
func count(read func(file) []byte, two bool) Counters {
	c := Counters{Time: time.Now()}
	if two {
		c.version2(read)
	} else {
		c.version1(read)
	}
	c.Pids, c.PidsLimit = number(read(file{"pids", "pids.current"})), limit(read(file{"pids", "pids.max"}))
	return c
}

// tick is the unit of cpuacct.stat: USER_HZ, which is 100 on all that Go runs on.
const tick = time.Second / 100

func (c *Counters) version1(read func(file) []byte) {
	c.CPU = time.Duration(number(read(usage1)))
	stat := read(file{"cpuacct", "cpuacct.stat"})
	c.CPUUser, c.CPUSystem = time.Duration(after(stat, "user"))*tick, time.Duration(after(stat, "system"))*tick
	c.CPUThrottled = time.Duration(after(read(file{"cpu", "cpu.stat"}), "throttled_time"))
	c.Memory = number(read(file{"memory", "memory.usage_in_bytes"}))
	c.Memory = max(0, c.Memory-after(read(file{"memory", "memory.stat"}), "total_inactive_file"))
	c.MemoryPeak = number(read(file{"memory", "memory.max_usage_in_bytes"}))
	c.MemoryLimit = limit(read(file{"memory", "memory.limit_in_bytes"}))
	c.ReadBytes, c.WrittenBytes = directions(read(file{"blkio", "blkio.throttle.io_service_bytes_recursive"}))
	c.Reads, c.Writes = directions(read(file{"blkio", "blkio.throttle.io_serviced_recursive"}))
}

func (c *Counters) version2(read func(file) []byte) {
	stat := read(usage2)
	microseconds := func(word string) time.Duration { return time.Duration(after(stat, word)) * time.Microsecond }
	c.CPU, c.CPUUser, c.CPUSystem = microseconds("usage_usec"), microseconds("user_usec"), microseconds("system_usec")
	c.CPUThrottled = microseconds("throttled_usec")
	c.Memory = number(read(file{"memory", "memory.current"}))
	c.Memory = max(0, c.Memory-after(read(file{"memory", "memory.stat"}), "inactive_file"))
	c.MemoryPeak = number(read(file{"memory", "memory.peak"}))
	c.MemoryLimit = limit(read(file{"memory", "memory.max"}))
	for line := range bytes.Lines(read(file{"io", "io.stat"})) { // "8:0 rbytes=1 wbytes=2 rios=3 wios=4 ..."
		for field := range bytes.FieldsSeq(line) {
			name, value, _ := bytes.Cut(field, []byte("="))
			switch string(name) {
			case "rbytes":
				c.ReadBytes += number(value)
			case "wbytes":
				c.WrittenBytes += number(value)
			case "rios":
				c.Reads += number(value)
			case "wios":
				c.Writes += number(value)
			}
		}
	}
}

// directions adds up the devices of a file of blkio's: "8:0 Read 1".
func directions(text []byte) (read, written int64) {
	for line := range bytes.Lines(text) {
		_, rest, _ := bytes.Cut(line, []byte(" "))
		word, value, _ := bytes.Cut(rest, []byte(" "))
		switch string(word) {
		case "Read":
			read += number(value)
		case "Write":
			written += number(value)
		}
	}
	return read, written
}

// after is the number behind a word that begins a line.
func after(text []byte, word string) int64 {
	for line := range bytes.Lines(text) {
		if name, value, _ := bytes.Cut(line, []byte(" ")); string(name) == word {
			return number(value)
		}
	}
	return 0
}

// number is 0 for what is none.
func number(text []byte) int64 {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0
	}
	return int64(min(n, math.MaxInt64))
}

// limit is 0 for what the kernel says for "none": a word, or a number of pages near
// the greatest.
func limit(text []byte) int64 {
	if n := number(text); n < 1<<62 {
		return n
	}
	return 0
}
