// Command go-client is a workload written with go-spiffe. Each subcommand prints JSON, one object a line; an error goes to
// standard error and ends the process with 1.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type command struct {
	arguments string
	run       func(ctx context.Context, arguments []string) error
}

var commands = map[string]command{
	"x509":      {"SOCKET", fetchX509},
	"jwt":       {"SOCKET AUDIENCE", fetchJWT},
	"bundles":   {"SOCKET TRUST_DOMAIN", fetchBundles},
	"serve":     {"SOCKET ADDRESS CLIENT_ID", serve},
	"call":      {"SOCKET ADDRESS SERVER_ID", call},
	"watch":     {"SOCKET", watch},
	"verify":    {"BUNDLE_PEM TRUST_DOMAIN CHAIN_PEM_DIRECTORY", verify},
	"templates": {"", templates},
	"hcl":       {"", parseHCL},
	"expand":    {"", expand},
	"handshake": {"ADDRESS GROUPS VERSION", handshake},
	"hello":     {"ADDRESS", hello},
	"reflect":   {"SOCKET VERSION", reflectOn},
	"invoke":    {"SOCKET SERVICE METHOD", invoke},

	"endure-serve": {"SOCKET ADDRESS CLIENT_ID", endureServe},
	"endure-call":  {"SOCKET ADDRESS SERVER_ID", endureCall},
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("a subcommand is required"))
	}
	chosen, known := commands[os.Args[1]]
	if !known {
		fail(fmt.Errorf("unknown subcommand %q", os.Args[1]))
	}
	if len(os.Args)-2 != len(strings.Fields(chosen.arguments)) {
		fail(fmt.Errorf("usage: %s %s", os.Args[1], chosen.arguments))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := chosen.run(ctx, os.Args[2:]); err != nil {
		fail(err)
	}
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

func at(socket string) workloadapi.ClientOption { return workloadapi.WithAddr("unix://" + socket) }

func short(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 20*time.Second)
}

func describe(svid *x509svid.SVID) map[string]any {
	leaf := svid.Certificates[0]
	return map[string]any{
		"id":        svid.ID.String(),
		"serial":    leaf.SerialNumber.String(),
		"notBefore": leaf.NotBefore.Unix(),
		"notAfter":  leaf.NotAfter.Unix(),
		"chain":     len(svid.Certificates),
		"dnsNames":  leaf.DNSNames,
		"hint":      svid.Hint,
	}
}

func fetchX509(ctx context.Context, arguments []string) error {
	ctx, cancel := short(ctx)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(at(arguments[0])))
	if err != nil {
		return err
	}
	defer source.Close()
	svid, err := source.GetX509SVID()
	if err != nil {
		return err
	}
	if _, _, err := x509svid.Verify(svid.Certificates, source); err != nil {
		return fmt.Errorf("the SVID does not verify against the bundle: %w", err)
	}
	emit(describe(svid))
	return nil
}

func fetchJWT(ctx context.Context, arguments []string) error {
	ctx, cancel := short(ctx)
	defer cancel()
	socket, audience := arguments[0], arguments[1]
	source, err := workloadapi.NewJWTSource(ctx, workloadapi.WithClientOptions(at(socket)))
	if err != nil {
		return err
	}
	defer source.Close()
	svid, err := source.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		return err
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{audience}); err != nil {
		return fmt.Errorf("the JWT-SVID does not verify against the bundle: %w", err)
	}
	validated, err := workloadapi.ValidateJWTSVID(ctx, svid.Marshal(), audience, at(socket))
	if err != nil {
		return fmt.Errorf("the agent does not validate the JWT-SVID: %w", err)
	}
	_, refusal := workloadapi.ValidateJWTSVID(ctx, svid.Marshal(), "another-audience", at(socket))
	emit(map[string]any{
		"id":              svid.ID.String(),
		"audience":        svid.Audience,
		"expiry":          svid.Expiry.Unix(),
		"validatedId":     validated.ID.String(),
		"refusesAudience": refusal != nil,
		"token":           svid.Marshal(),
	})
	return nil
}

func fetchBundles(ctx context.Context, arguments []string) error {
	ctx, cancel := short(ctx)
	defer cancel()
	trustDomain, err := spiffeid.TrustDomainFromString(arguments[1])
	if err != nil {
		return err
	}
	source, err := workloadapi.NewBundleSource(ctx, workloadapi.WithClientOptions(at(arguments[0])))
	if err != nil {
		return err
	}
	defer source.Close()
	bundle, err := source.GetBundleForTrustDomain(trustDomain)
	if err != nil {
		return err
	}
	emit(map[string]any{
		"trustDomain":     bundle.TrustDomain().Name(),
		"x509Authorities": len(bundle.X509Authorities()),
		"jwtAuthorities":  len(bundle.JWTAuthorities()),
	})
	return nil
}

// serve answers each connection with a greeting that names the caller, until the process is told to end.
func serve(ctx context.Context, arguments []string) error {
	clientID, err := spiffeid.FromString(arguments[2])
	if err != nil {
		return err
	}
	mode := spiffetls.MTLSServerWithSourceOptions(
		tlsconfig.AuthorizeID(clientID),
		workloadapi.WithClientOptions(at(arguments[0])))
	listener, err := spiffetls.ListenWithMode(ctx, "tcp", arguments[1], mode)
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		listener.Close()
	}()
	emit(map[string]any{"listening": listener.Addr().String()})
	for {
		connection, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go greet(connection)
	}
}

func greet(connection io.ReadWriteCloser) {
	defer connection.Close()
	if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
		emit(map[string]any{"refused": err.Error()})
		return
	}
	if peer, ok := connection.(spiffetls.PeerIDGetter); ok {
		if id, err := peer.PeerID(); err == nil {
			fmt.Fprintf(connection, "hello %s\n", id)
		}
	}
}

func call(ctx context.Context, arguments []string) error {
	ctx, cancel := short(ctx)
	defer cancel()
	serverID, err := spiffeid.FromString(arguments[2])
	if err != nil {
		return err
	}
	mode := spiffetls.MTLSClientWithSourceOptions(
		tlsconfig.AuthorizeID(serverID),
		workloadapi.WithClientOptions(at(arguments[0])))
	connection, err := spiffetls.DialWithMode(ctx, "tcp", arguments[1], mode)
	if err != nil {
		return err
	}
	defer connection.Close()
	if _, err := fmt.Fprintln(connection, "hello"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	emit(map[string]any{"answer": strings.TrimSpace(answer)})
	return nil
}

type printingWatcher struct{}

func (printingWatcher) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svids := make([]map[string]any, 0, len(update.SVIDs))
	for _, svid := range update.SVIDs {
		svids = append(svids, describe(svid))
	}
	emit(map[string]any{"svids": svids, "bundles": update.Bundles.Len()})
}

func (printingWatcher) OnX509ContextWatchError(err error) {
	emit(map[string]any{"error": err.Error()})
}

func watch(ctx context.Context, arguments []string) error {
	err := workloadapi.WatchX509Context(ctx, printingWatcher{}, at(arguments[0]))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// verify checks every chain in a directory against a bundle, as a go-spiffe peer would.
func verify(_ context.Context, arguments []string) error {
	trustDomain, err := spiffeid.TrustDomainFromString(arguments[1])
	if err != nil {
		return err
	}
	bundle, err := x509bundle.Load(trustDomain, arguments[0])
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(arguments[2], "*.pem"))
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var chain [][]byte
		for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
			chain = append(chain, block.Bytes)
		}
		if _, _, err := x509svid.ParseAndVerify(chain, bundle); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	emit(map[string]any{"verified": len(files)})
	return nil
}
