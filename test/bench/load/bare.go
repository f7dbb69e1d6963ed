package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// serveBare is the least that a gRPC server in Go can be: the health service on a Unix socket, until it is told to stop.
func serveBare(ctx context.Context, o options) (any, error) {
	listener, err := net.Listen("unix", o.text("socket"))
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, health.NewServer())
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	return map[string]string{"served": o.text("socket")}, server.Serve(listener)
}

func check(ctx context.Context, connection *grpc.ClientConn) (int, error) {
	_, err := healthv1.NewHealthClient(connection).Check(ctx, &healthv1.HealthCheckRequest{})
	return 1, err
}

// echo asks the health service again and again, each caller on a connection of its own.
func echo(ctx context.Context, o options) (any, error) {
	calls := make([]call, o.number("callers", 32))
	for n := range calls {
		connection, err := dial("unix:"+o.text("socket"), insecure.NewCredentials())
		if err != nil {
			return nil, err
		}
		defer connection.Close()
		calls[n] = func(ctx context.Context) (int, error) { return check(ctx, connection) }
	}
	return measure(ctx, o, calls)
}

// echoAnew opens a connection for each call.
func echoAnew(ctx context.Context, o options) (any, error) {
	return measure(ctx, o, same(o.number("callers", 32), func(ctx context.Context) (int, error) {
		connection, err := dial("unix:"+o.text("socket"), insecure.NewCredentials())
		if err != nil {
			return 0, err
		}
		defer connection.Close()
		return check(ctx, connection)
	}))
}
