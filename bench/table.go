package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// print writes the tables for people.
func (r *results) print(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s, Linux %s, cgroup %s, %d CPUs (%s), %d MiB, %s, load %s\n",
		m.System, m.Kernel, m.Cgroup, m.CPUs, m.CPU, m.MiB, m.Go, m.Load)
	for _, a := range r.Missing {
		fmt.Fprintf(w, "MISSING %s: %s\n", a.Peer, a.Why)
	}
	r.table(w, "Whole life of a container that runs true, ms", r.Life, "runc run", "bwrap --unshare-all", "ctr run --rm --seccomp", "docker run --rm --network none")
	r.table(w, "Of that, ms", r.Phases)
	r.table(w, "true in an instance that was there before, ms", r.Warm, "bwrap --unshare-all")
	r.table(w, "true in a running container, with output and exit code, ms", r.Exec, "runc run", "ctr run --rm --seccomp", "docker run --rm --network none")
	r.printRates(w)
	r.printSoaks(w)
	r.printIdle(w)
	r.table(w, "Opening an engine, ms", r.Open)
	for _, p := range r.Pull {
		r.table(w, "Pull of "+p.Shape+", ms", p.Times, "containerd client.Pull", "docker pull")
		r.table(w, "Processor time of it, ms", p.CPU, "containerd client.Pull", "docker pull")
		r.table(w, "Memory that this process grew by meanwhile, MiB", p.PeakMiB[:min(2, len(p.PeakMiB))])
	}
}

// table writes medians, and their ratios to those of some of the series.
func (r *results) table(w io.Writer, title string, all []series, to ...string) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "median\tp90\t")
	for _, name := range to {
		fmt.Fprintf(t, "× %s\t", short(name))
	}
	fmt.Fprintln(t)
	for _, s := range all {
		fmt.Fprintf(t, "%.1f\t%.1f\t", s.median(), s.p90())
		for _, name := range to {
			base, ok := find(all, name)
			if !ok {
				fmt.Fprint(t, "-\t")
				continue
			}
			fmt.Fprintf(t, "%.2f\t", s.median()/base.median())
		}
		fmt.Fprintf(t, "  %s\n", s.Name)
	}
	t.Flush()
}

// short is a name for the head of a column.
func short(name string) string {
	var word string
	if _, err := fmt.Sscan(name, &word); err != nil {
		return name
	}
	return word
}

func (r *results) printRates(w io.Writer) {
	if len(r.Rate) == 0 {
		return
	}
	fmt.Fprint(w, "\nWhole lives per second\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "goroutines\tlives/s\t× ctr\tmedian, ms\tp99\tslowest\t")
	for _, v := range r.Rate {
		base := math.NaN()
		for _, o := range r.Rate {
			if o.Peer == "ctr run --rm --seccomp" && o.Goroutines == v.Goroutines {
				base = quantile(o.PerSecond, 0.5)
			}
		}
		median := quantile(v.PerSecond, 0.5)
		fmt.Fprintf(t, "%d\t%.1f\t%.2f\t%.0f\t%.0f\t%.0f\t  %s\n", v.Goroutines, median, median/base,
			quantile(v.LifeMs, 0.5), quantile(v.LifeMs, 0.99), quantile(v.LifeMs, 1), v.Peer)
	}
	t.Flush()
}

func (r *results) printSoaks(w io.Writer) {
	if len(r.Soak) == 0 {
		return
	}
	fmt.Fprint(w, "\nLives for a long time: a second, in the slowest tenth and the fastest; memory of program and shim, and open files, before and after each third\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "goroutines\tlives\tfailed\tslowest\tfastest\tmedian, ms\tp99\t÷ median\tprogram, MiB\tshim, MiB\tfiles\t")
	for _, s := range r.Soak {
		median, p99 := quantile(s.LifeMs, 0.5), quantile(s.LifeMs, 0.99)
		fmt.Fprintf(t, "%d\t%d\t%d\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t", s.Goroutines, len(s.LifeMs), s.Failures,
			quantile(s.PerSecond, 0), quantile(s.PerSecond, 1), median, p99, p99/median)
		var program, shim, files []string
		for n := 0; n < len(s.Weights); n += max(1, (len(s.Weights)-1)/3) {
			v := s.Weights[n]
			program = append(program, fmt.Sprintf("%.1f", float64(v.ProgramKiB)/1024))
			shim = append(shim, fmt.Sprintf("%.1f", float64(v.ShimKiB)/1024))
			files = append(files, fmt.Sprint(v.Files))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t  %s\n", strings.Join(program, " "), strings.Join(shim, " "), strings.Join(files, " "), s.Peer)
	}
	t.Flush()
}

func (r *results) printIdle(w io.Writer) {
	if len(r.Idle) == 0 {
		return
	}
	fmt.Fprint(w, "\nMemory per idle container (PSS of helper processes; growth of daemon or program), MiB\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "containers\thelpers\tMiB each\tdaemon, each\ttogether\tstarted in, s\t")
	for _, i := range r.Idle {
		each := func(kib int) float64 { return float64(kib) / 1024 / float64(i.Containers) }
		fmt.Fprintf(t, "%d\t%d\t%.2f\t%.2f\t%.2f\t%.1f\t  %s\n", i.Containers, i.Helpers,
			each(i.HelperKiB), each(i.DaemonKiB), each(i.HelperKiB+i.DaemonKiB), i.Seconds, i.Peer)
	}
	t.Flush()
}
