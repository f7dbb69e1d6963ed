package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// serveBare is the least that a gRPC server in Go can be: the health service on a Unix socket, over TLS too when it is given an address,
// until it is told to stop.
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
	if address, given := o["address"]; given {
		if err := serveBareTLS(ctx, address, o); err != nil {
			return nil, err
		}
	}
	return map[string]string{"served": o.text("socket")}, server.Serve(listener)
}

func serveBareTLS(ctx context.Context, address string, o options) error {
	secure, err := credentials.NewServerTLSFromFile(o.text("certificate"), o.text("key"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.Creds(secure))
	healthv1.RegisterHealthServer(server, health.NewServer())
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	go server.Serve(listener)
	return nil
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

func bareConnection(o options) (*grpc.ClientConn, error) {
	if address, given := o["address"]; given {
		return dial(address, anyServer())
	}
	return dial("unix:"+o.text("socket"), insecure.NewCredentials())
}

// echoAnew opens a connection for each call: to the socket, or over TLS to the address.
func echoAnew(ctx context.Context, o options) (any, error) {
	return measure(ctx, o, same(o.number("callers", 32), func(ctx context.Context) (int, error) {
		connection, err := bareConnection(o)
		if err != nil {
			return 0, err
		}
		defer connection.Close()
		return check(ctx, connection)
	}))
}
