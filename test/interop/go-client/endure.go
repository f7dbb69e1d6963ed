package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/logger"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const (
	handshakeEvery  = 100 * time.Millisecond
	handshakeLimit  = 10 * time.Second
	jwtEvery        = time.Second
	reportEvery     = 500 * time.Millisecond
	enduredAudience = "endurance"
	// Enough to see what went wrong, without a log that grows for ever.
	failuresKept = 20
)

// ledger is what a workload that goes on and on has met with so far.
type ledger struct {
	mutex      sync.Mutex
	handshakes int
	jwts       int
	failures   int
	kept       []string
	expired    int
	svids      map[string]bool
	issuers    map[string]bool
	jwtKeys    map[string]bool
	issuer     string
	bundle     []string
	jwtBundle  []string
	lastUpdate time.Time
	longestGap time.Duration
}

func newLedger() *ledger {
	return &ledger{svids: map[string]bool{}, issuers: map[string]bool{}, jwtKeys: map[string]bool{}, lastUpdate: time.Now()}
}

// fail notes a failure of any kind; a workload that endures has none.
func (l *ledger) fail(what string, err error) {
	// What ends with the test is not a failure.
	if strings.Contains(err.Error(), "anceled") {
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.failures++
	if len(l.kept) < failuresKept {
		l.kept = append(l.kept, fmt.Sprintf("%s %s: %v", time.Now().UTC().Format("15:04:05.000"), what, err))
	}
}

func (l *ledger) count(counter *int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	*counter++
}

func (l *ledger) report() map[string]any {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return map[string]any{
		"handshakes": l.handshakes, "jwts": l.jwts, "failures": l.failures, "kept": append([]string{}, l.kept...),
		"expired": l.expired, "svids": len(l.svids), "issuers": len(l.issuers), "jwtKeys": len(l.jwtKeys),
		"issuer": l.issuer, "bundle": l.bundle, "jwtBundle": l.jwtBundle, "longestGapMs": l.longestGap.Milliseconds(),
	}
}

// OnX509ContextUpdate notes which SVID, which issuer and which authorities have come.
func (l *ledger) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svid := update.DefaultSVID()
	leaf := svid.Certificates[0]
	var bundle []string
	if own, ok := update.Bundles.Get(svid.ID.TrustDomain()); ok {
		for _, authority := range own.X509Authorities() {
			bundle = append(bundle, hex.EncodeToString(authority.SubjectKeyId))
		}
	}
	sort.Strings(bundle)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.svids[leaf.SerialNumber.String()] = true
	l.issuer = hex.EncodeToString(leaf.AuthorityKeyId)
	l.issuers[l.issuer] = true
	l.bundle = bundle
	l.longestGap = max(l.longestGap, time.Since(l.lastUpdate))
	l.lastUpdate = time.Now()
}

// OnX509ContextWatchError notes that the stream broke.
func (l *ledger) OnX509ContextWatchError(err error) {
	l.fail("watch of X.509 contexts", err)
}

// OnJWTBundlesUpdate notes which JWT keys have come.
func (l *ledger) OnJWTBundlesUpdate(update *jwtbundle.Set) {
	var keys []string
	for _, bundle := range update.Bundles() {
		for key := range bundle.JWTAuthorities() {
			keys = append(keys, key)
		}
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.jwtBundle = keys
}

// OnJWTBundlesWatchError notes that the stream broke.
func (l *ledger) OnJWTBundlesWatchError(err error) {
	l.fail("watch of JWT bundles", err)
}

// failingLogger turns what the library complains of into failures of the ledger.
type failingLogger struct {
	logger.Logger
	ledger *ledger
}

func (f failingLogger) Errorf(format string, arguments ...any) {
	f.ledger.fail("source", fmt.Errorf(format, arguments...))
}

// endure starts what both ends share: a source, a watch beside it that counts, and a report now and then until the context ends.
func endure(ctx context.Context, socket string, work func(*ledger, *workloadapi.X509Source) error) error {
	notes := newLedger()
	first, cancel := short(ctx)
	defer cancel()
	options := workloadapi.WithClientOptions(at(socket), workloadapi.WithLogger(failingLogger{logger.Null, notes}))
	source, err := workloadapi.NewX509Source(first, options)
	if err != nil {
		return err
	}
	defer source.Close()
	go func() {
		if err := workloadapi.WatchX509Context(ctx, notes, at(socket)); err != nil && ctx.Err() == nil {
			notes.fail("watch of X.509 contexts ended", err)
		}
	}()
	go func() {
		if err := workloadapi.WatchJWTBundles(ctx, notes, at(socket)); err != nil && ctx.Err() == nil {
			notes.fail("watch of JWT bundles ended", err)
		}
	}()
	go repeatedly(ctx, reportEvery, func() {
		if svid, err := source.GetX509SVID(); err == nil && time.Now().After(svid.Certificates[0].NotAfter) {
			notes.count(&notes.expired)
		}
		emit(notes.report())
	})
	err = work(notes, source)
	emit(notes.report())
	return err
}

func repeatedly(ctx context.Context, interval time.Duration, work func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			work()
		}
	}
}

// endureServe answers mTLS connections of one client ID, and counts those it could not finish.
func endureServe(ctx context.Context, arguments []string) error {
	clientID, err := spiffeid.FromString(arguments[2])
	if err != nil {
		return err
	}
	return endure(ctx, arguments[0], func(notes *ledger, source *workloadapi.X509Source) error {
		config := tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(clientID))
		listener, err := tls.Listen("tcp", arguments[1], config)
		if err != nil {
			return err
		}
		emit(map[string]any{"listening": listener.Addr().String()})
		go func() {
			<-ctx.Done()
			listener.Close()
		}()
		for {
			connection, err := listener.Accept()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			go func() {
				defer connection.Close()
				if err := answerHello(connection); err == nil {
					notes.count(&notes.handshakes)
				} else if ctx.Err() == nil {
					notes.fail("accept", err)
				}
			}()
		}
	})
}

func answerHello(connection net.Conn) error {
	if err := connection.SetDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return err
	}
	if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
		return err
	}
	_, err := fmt.Fprintln(connection, "hello")
	return err
}

// endureCall opens a new mTLS connection ten times a second, and fetches and validates a JWT-SVID every second.
func endureCall(ctx context.Context, arguments []string) error {
	serverID, err := spiffeid.FromString(arguments[2])
	if err != nil {
		return err
	}
	return endure(ctx, arguments[0], func(notes *ledger, source *workloadapi.X509Source) error {
		tokens, err := workloadapi.NewJWTSource(ctx, workloadapi.WithClientOptions(at(arguments[0]),
			workloadapi.WithLogger(failingLogger{logger.Null, notes})))
		if err != nil {
			return err
		}
		defer tokens.Close()
		go repeatedly(ctx, jwtEvery, func() {
			if err := endureJWT(ctx, notes, tokens, arguments[0]); err != nil && ctx.Err() == nil {
				notes.fail("JWT-SVID", err)
			}
		})
		config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(serverID))
		// The service counts a connection that its caller's end cuts off as a failure, so the last one is finished.
		var underWay sync.WaitGroup
		defer underWay.Wait()
		repeatedly(ctx, handshakeEvery, func() {
			underWay.Go(func() {
				if err := sayHello(arguments[1], config); err == nil {
					notes.count(&notes.handshakes)
				} else if ctx.Err() == nil {
					notes.fail("connect", err)
				}
			})
		})
		return nil
	})
}

func sayHello(address string, config *tls.Config) error {
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: handshakeLimit}, "tcp", address, config)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return err
	}
	// In TLS 1.3 only an answer tells that the server has accepted our certificate.
	if _, err := fmt.Fprintln(connection, "hello"); err != nil {
		return err
	}
	_, err = bufio.NewReader(connection).ReadString('\n')
	return err
}

// endureJWT has a token judged twice: here, against the watched bundles, and by the agent.
func endureJWT(ctx context.Context, notes *ledger, source *workloadapi.JWTSource, socket string) error {
	limited, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	svid, err := source.FetchJWTSVID(limited, jwtsvid.Params{Audience: enduredAudience})
	if err != nil {
		return err
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{enduredAudience}); err != nil {
		return fmt.Errorf("refused here: %w", err)
	}
	if _, err := workloadapi.ValidateJWTSVID(limited, svid.Marshal(), enduredAudience, at(socket)); err != nil {
		return fmt.Errorf("refused by the agent: %w", err)
	}
	header, _, _ := strings.Cut(svid.Marshal(), ".")
	notes.mutex.Lock()
	defer notes.mutex.Unlock()
	notes.jwts++
	// Equal headers are equal keys: they hold algorithm and key ID.
	notes.jwtKeys[header] = true
	return nil
}
