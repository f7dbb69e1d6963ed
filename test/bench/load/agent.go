package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	debugv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/agent/debug/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// workloadAPI opens a connection of its own to the Workload API.
func workloadAPI(o options) (*grpc.ClientConn, workload.SpiffeWorkloadAPIClient, error) {
	connection, err := dial("unix:"+o.text("socket"), insecure.NewCredentials())
	if err != nil {
		return nil, nil, err
	}
	return connection, workload.NewSpiffeWorkloadAPIClient(connection), nil
}

func asWorkload(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
}

// fetchX509 opens a connection, reads the first answer and closes it again.
func fetchX509(ctx context.Context, o options) (any, error) {
	return measure(ctx, o, same(o.number("callers", 32), func(ctx context.Context) (int, error) {
		connection, client, err := workloadAPI(o)
		if err != nil {
			return 0, err
		}
		defer connection.Close()
		ctx, cancel := context.WithCancel(asWorkload(ctx))
		defer cancel()
		stream, err := client.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err != nil {
			return 0, err
		}
		answer, err := stream.Recv()
		return len(answer.GetSvids()), err
	}))
}

// fetchJWT asks again and again for the same token, each caller on a connection of its own.
func fetchJWT(ctx context.Context, o options) (any, error) {
	calls := make([]call, o.number("callers", 32))
	request := &workload.JWTSVIDRequest{Audience: []string{"bench"}}
	for n := range calls {
		connection, client, err := workloadAPI(o)
		if err != nil {
			return nil, err
		}
		defer connection.Close()
		calls[n] = func(ctx context.Context) (int, error) {
			answer, err := client.FetchJWTSVID(asWorkload(ctx), request)
			return len(answer.GetSvids()), err
		}
	}
	return measure(ctx, o, calls)
}

// streams opens COUNT streams, each on a connection of its own, says so, and holds them until its standard input ends.
func streams(ctx context.Context, o options) (any, error) {
	count := o.number("count", 1000)
	for range count {
		connection, client, err := workloadAPI(o)
		if err != nil {
			return nil, err
		}
		defer connection.Close()
		stream, err := client.FetchX509SVID(asWorkload(ctx), &workload.X509SVIDRequest{})
		if err != nil {
			return nil, err
		}
		if _, err := stream.Recv(); err != nil {
			return nil, err
		}
	}
	emit(map[string]int{"open": count})
	bufio.NewScanner(os.Stdin).Scan()
	return map[string]int{"closed": count}, nil
}

// agentCached waits until the agent says on its admin socket that it has COUNT SVIDs; answers with the Unix time of that moment.
func agentCached(ctx context.Context, o options) (any, error) {
	connection, err := admin(o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	client := debugv1.NewDebugClient(connection)
	wanted := int32(o.number("count", 1))
	deadline := time.Now().Add(5 * time.Minute)
	last := int32(0)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		info, err := client.GetInfo(ctx, &debugv1.GetInfoRequest{}, grpc.WaitForReady(true))
		if err == nil {
			last = info.CachedX509SvidsCount
			if last >= wanted {
				return map[string]float64{"at": float64(time.Now().UnixMicro()) / 1000}, nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, fmt.Errorf("the agent has %d of %d SVIDs", last, wanted)
}

// stalls asks the health listener once a millisecond, on one connection, and tells how long the slowest answers took. Who answers from
// an event loop answers as late as the loop was kept.
func stalls(ctx context.Context, o options) (any, error) {
	client := &http.Client{Timeout: time.Minute}
	url := "http://" + o.text("address") + "/live"
	var times []float64
	for start := time.Now(); time.Since(start) < time.Duration(o.number("milliseconds", 5000))*time.Millisecond; {
		time.Sleep(time.Millisecond)
		from := time.Now()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		answer, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil {
			return nil, err
		}
		times = append(times, milliseconds(time.Since(from)))
	}
	sort.Float64s(times)
	return figures{
		Calls: len(times), P50: quantile(times, 0.5), P99: quantile(times, 0.99), Longest: times[len(times)-1],
	}, nil
}
