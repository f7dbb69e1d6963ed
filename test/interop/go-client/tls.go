package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

var groups = map[string]tls.CurveID{
	"X25519MLKEM768": tls.X25519MLKEM768,
	"X25519":         tls.X25519,
	"P-256":          tls.CurveP256,
}

var versions = map[string]uint16{"1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// handshake offers the groups (GROUP,GROUP or "any") of one version of TLS, and prints what was agreed on.
func handshake(ctx context.Context, arguments []string) error {
	version, known := versions[arguments[2]]
	if !known {
		return fmt.Errorf("unknown version %q", arguments[2])
	}
	config := &tls.Config{
		// Who answers is of no interest here.
		InsecureSkipVerify: true,
		NextProtos:         []string{"h2", "http/1.1"},
		MinVersion:         version,
		MaxVersion:         version,
	}
	if arguments[1] != "any" {
		for _, name := range strings.Split(arguments[1], ",") {
			config.CurvePreferences = append(config.CurvePreferences, groups[name])
		}
	}
	connection, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", arguments[0])
	if err != nil {
		return err
	}
	defer connection.Close()
	state := connection.(*tls.Conn).ConnectionState()
	emit(map[string]string{"version": tls.VersionName(state.Version), "group": state.CurveID.String()})
	return nil
}

// hello waits for one client and prints what it offers.
func hello(ctx context.Context, arguments []string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", arguments[0])
	if err != nil {
		return err
	}
	defer listener.Close()
	emit(map[string]string{"listening": listener.Addr().String()})
	connection, err := listener.Accept()
	if err != nil {
		return err
	}
	defer connection.Close()
	offered := map[string][]string{"groups": {}, "versions": {}}
	config := &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, group := range info.SupportedCurves {
			offered["groups"] = append(offered["groups"], group.String())
		}
		for _, version := range info.SupportedVersions {
			offered["versions"] = append(offered["versions"], tls.VersionName(version))
		}
		return nil, errors.New("that was all")
	}}
	if err := tls.Server(connection, config).HandshakeContext(ctx); len(offered["versions"]) == 0 {
		return err
	}
	emit(offered)
	return nil
}
