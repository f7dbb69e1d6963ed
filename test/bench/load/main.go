// Command load is the one client that measures both implementations, over their public protocols alone. Each subcommand prepares what
// it needs, puts the load on, and prints one JSON object; an error goes to standard error and ends the process with 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// options are the words KEY=VALUE after the subcommand.
type options map[string]string

func (o options) text(key string) string {
	value, given := o[key]
	if !given {
		fail(fmt.Errorf("%s=… is required", key))
	}
	return value
}

func (o options) number(key string, otherwise int) int {
	value, given := o[key]
	if !given {
		return otherwise
	}
	number, err := strconv.Atoi(value)
	if err != nil {
		fail(fmt.Errorf("%s: %w", key, err))
	}
	return number
}

var commands = map[string]func(ctx context.Context, o options) (any, error){
	"ready":        ready,
	"token":        newToken,
	"seed":         seed,
	"mint-x509":    mintX509,
	"mint-jwt":     mintJWT,
	"batch-x509":   batchX509,
	"new-jwt":      newJWT,
	"attest":       attestMany,
	"authorized":   authorized,
	"sync":         syncEntries,
	"fetch-x509":   fetchX509,
	"fetch-jwt":    fetchJWT,
	"streams":      streams,
	"agent-cached": agentCached,
	"signatures":   signatures,
	"serve-bare":   serveBare,
	"echo":         echo,
	"echo-anew":    echoAnew,
	"stalls":       stalls,
	"idle":         idle,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fail(errors.New("usage: load SUBCOMMAND [KEY=VALUE …]"))
	}
	o := options{}
	for _, word := range os.Args[2:] {
		key, value, found := strings.Cut(word, "=")
		if !found {
			fail(fmt.Errorf("%q is not KEY=VALUE", word))
		}
		o[key] = value
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	result, err := commands[os.Args[1]](ctx, o)
	if err != nil {
		fail(err)
	}
	emit(result)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func emit(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(line))
}

// figures of one load. Milliseconds and seconds.
type figures struct {
	Calls      int     `json:"calls"`
	Items      int     `json:"items"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpuSeconds"`
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
	Longest    float64 `json:"longest"`
}

// call does one call and tells how many items it brought.
type call func(ctx context.Context) (int, error)

// measure lets as many callers as there are calls work until the time is up, or until the given number of calls is done, and reads
// what the process with the given pid used of the processor meanwhile. The first tenth of the time warms up and does not count.
func measure(ctx context.Context, o options, calls []call) (figures, error) {
	seconds := time.Duration(o.number("milliseconds", 5000)) * time.Millisecond
	limit := int64(o.number("calls", 0))
	if limit == 0 {
		if _, err := phase(ctx, calls, seconds/10, 0); err != nil {
			return figures{}, err
		}
	}
	pid := o.number("pid", 0)
	before := processorSeconds(pid)
	result, err := phase(ctx, calls, seconds, limit)
	result.CPUSeconds = processorSeconds(pid) - before
	return result, err
}

func phase(ctx context.Context, calls []call, duration time.Duration, limit int64) (figures, error) {
	start := time.Now()
	var begun, items atomic.Int64
	times := make([][]float64, len(calls))
	failures := make(chan error, len(calls))
	var all sync.WaitGroup
	for caller, work := range calls {
		all.Go(func() {
			for ctx.Err() == nil {
				if limit > 0 && begun.Add(1) > limit || limit == 0 && time.Since(start) >= duration {
					return
				}
				from := time.Now()
				count, err := work(ctx)
				if err != nil {
					failures <- err
					return
				}
				items.Add(int64(count))
				times[caller] = append(times[caller], milliseconds(time.Since(from)))
			}
		})
	}
	all.Wait()
	elapsed := time.Since(start).Seconds()
	select {
	case err := <-failures:
		return figures{}, err
	default:
	}
	var sorted []float64
	for _, some := range times {
		sorted = append(sorted, some...)
	}
	sort.Float64s(sorted)
	if len(sorted) == 0 {
		return figures{}, errors.New("no call came to its end")
	}
	return figures{
		Calls: len(sorted), Items: int(items.Load()), Seconds: elapsed,
		P50: quantile(sorted, 0.5), P99: quantile(sorted, 0.99), Longest: sorted[len(sorted)-1],
	}, nil
}

func quantile(sorted []float64, q float64) float64 {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// processorSeconds are those of all threads of a process, ended ones too, by its clock (clock_getcpuclockid(3)).
func processorSeconds(pid int) float64 {
	if pid == 0 {
		return 0
	}
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &spent); err != nil {
		fail(fmt.Errorf("processor time of %d: %w", pid, err))
	}
	return float64(spent.Nano()) / 1e9
}

// idle reads what a process uses of the processor while nobody asks it for anything.
func idle(_ context.Context, o options) (any, error) {
	pid := o.number("pid", 0)
	before := processorSeconds(pid)
	time.Sleep(time.Duration(o.number("milliseconds", 5000)) * time.Millisecond)
	return figures{CPUSeconds: processorSeconds(pid) - before}, nil
}

// same gives every one of the callers the same call.
func same(callers int, work call) []call {
	calls := make([]call, callers)
	for n := range calls {
		calls[n] = work
	}
	return calls
}
