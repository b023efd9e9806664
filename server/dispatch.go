package server

import (
	"fmt"
	"runtime/debug"

	"github.com/valyala/fasthttp"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/batch"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/op"
	"pagevault/internal/azure/xmlbody"
)

// handler carries out an operation: it reads what the request says about it, calls the account, and makes the reply.
type handler struct {
	serve func(r *request) error
	body  int64 // the largest body it reads, in bytes. 0: it reads none, and one that comes is dropped
	older []olderLimit
}

// olderLimit is the largest body in versions before a later one.
type olderLimit struct {
	before string
	body   int64
}

// most returns the largest body in a version.
func (h *handler) most(version []byte) int64 {
	for _, o := range h.older {
		if string(version) < o.before {
			return o.body
		}
	}
	return h.body
}

// The largest bodies of blobs and blocks, by the version, the oldest first.
const (
	putBlobMax     = 5000 << 20
	putBlockMax    = 4000 << 20
	appendBlockMax = 100 << 20
)

var (
	putBlobOlder     = []olderLimit{{"2016-05-31", 64 << 20}, {"2019-12-12", 256 << 20}}
	putBlockOlder    = []olderLimit{{"2016-05-31", 4 << 20}, {"2019-12-12", 100 << 20}}
	appendBlockOlder = []olderLimit{{"2022-11-02", 4 << 20}}
)

// handlers is who carries out which operation of op.Table. Those that are not here are refused there.
var handlers = [256]handler{
	op.ListContainers:        {serve: (*request).listContainers},
	op.GetServiceProperties:  {serve: (*request).getServiceProperties},
	op.SetServiceProperties:  {serve: (*request).setServiceProperties, body: xmlBodyMax},
	op.GetAccountInformation: {serve: (*request).getAccountInformation},
	op.GetUserDelegationKey:  {serve: (*request).getUserDelegationKey, body: xmlBodyMax},
	op.GetServiceStats:       {serve: (*request).getServiceStats},
	op.CORSPreflight:         {serve: (*request).corsPreflight},
	op.FindBlobsByTags:       {serve: (*request).findBlobsByTags},
	op.ServiceBatch:          {serve: (*request).blobBatch, body: batch.BodyMax},

	op.CreateContainer:        {serve: (*request).createContainer},
	op.GetContainerProperties: {serve: (*request).getContainerProperties},
	op.GetContainerMetadata:   {serve: (*request).getContainerMetadata},
	op.SetContainerMetadata:   {serve: (*request).setContainerMetadata},
	op.GetContainerACL:        {serve: (*request).getContainerACL},
	op.SetContainerACL:        {serve: (*request).setContainerACL, body: xmlBodyMax},
	op.DeleteContainer:        {serve: (*request).deleteContainer},
	op.LeaseContainer:         {serve: (*request).leaseContainer},
	op.RestoreContainer:       {serve: (*request).restoreContainer},
	op.ListBlobs:              {serve: (*request).listBlobs},

	op.FindBlobsByTagsInContainer: {serve: (*request).findBlobsByTags},
	op.ContainerBatch:             {serve: (*request).blobBatch, body: batch.BodyMax},

	op.PutPageBlob:       {serve: (*request).putPageBlob},
	op.GetBlob:           {serve: (*request).getBlob},
	op.GetBlobProperties: {serve: (*request).getBlobProperties},
	op.DeleteBlob:        {serve: (*request).deleteBlob},
	op.SetBlobProperties: {serve: (*request).setBlobProperties},
	op.GetBlobMetadata:   {serve: (*request).getBlobMetadata},
	op.SetBlobMetadata:   {serve: (*request).setBlobMetadata},
	op.LeaseBlob:         {serve: (*request).leaseBlob},
	op.SnapshotBlob:      {serve: (*request).snapshotBlob},
	op.GetBlobTags:       {serve: (*request).getBlobTags},
	op.SetBlobTags:       {serve: (*request).setBlobTags, body: xmlBodyMax},
	op.CopyBlob:          {serve: (*request).copyBlob},
	op.AbortCopyBlob:     {serve: (*request).abortCopyBlob},
	op.SetBlobTier:       {serve: (*request).setBlobTier},

	op.SetImmutabilityPolicy:    {serve: (*request).setImmutabilityPolicy},
	op.DeleteImmutabilityPolicy: {serve: (*request).deleteImmutabilityPolicy},
	op.SetLegalHold:             {serve: (*request).setLegalHold},
	op.UndeleteBlob:             {serve: (*request).undeleteBlob},

	op.IncrementalCopyBlob: {serve: (*request).incrementalCopyBlob},

	op.PutBlobFromURL:     {serve: (*request).putBlobFromURL},
	op.CopyBlobFromURL:    {serve: (*request).copyBlobFromURL},
	op.PutBlockFromURL:    {serve: (*request).putBlockFromURL},
	op.AppendBlockFromURL: {serve: (*request).appendBlockFromURL},

	op.PutPage:           {serve: (*request).putPage, body: blobstore.PutPagesMax},
	op.ClearPages:        {serve: (*request).clearPages},
	op.PutPageFromURL:    {serve: (*request).putPageFromURL},
	op.GetPageRanges:     {serve: (*request).getPageRanges},
	op.GetPageRangesDiff: {serve: (*request).getPageRangesDiff},

	op.PutBlockBlob: {serve: (*request).putBlockBlob, body: putBlobMax, older: putBlobOlder},
	op.PutBlock:     {serve: (*request).putBlock, body: putBlockMax, older: putBlockOlder},
	op.PutBlockList: {serve: (*request).putBlockList, body: xmlbody.BlockListMax},
	op.GetBlockList: {serve: (*request).getBlockList},

	op.PutAppendBlob:  {serve: (*request).putAppendBlob},
	op.AppendBlock:    {serve: (*request).appendBlock, body: appendBlockMax, older: appendBlockOlder},
	op.SealAppendBlob: {serve: (*request).sealAppendBlob},
}

// handle serves one request. fasthttp calls it when the headers are there; the body is read by whoever wants it.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	r, admitted := s.resume(ctx)
	defer r.release()
	if admitted {
		admitted = r.try((*request).enterAccount)
	} else {
		admitted = r.try((*request).admit)
	}
	if admitted && r.try((*request).stepUp) {
		r.try(s.handlers[r.row.ID].serve)
	}
	r.stepAside()
	r.settle()
	r.payRate()
	r.record()
}

// try runs a step and makes the reply if it fails. A panic in it is a failure of this request only.
func (r *request) try(step func(r *request) error) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			r.panicked(p)
			ok = false
		}
	}()
	if err := step(r); err != nil {
		r.fail(err)
		return false
	}
	return true
}

// admit takes the request from its first byte to the handler: everything that can be decided from the headers alone.
func (r *request) admit() error {
	if err := r.readHeaders(); err != nil {
		return err
	}
	if err := r.locate(); err != nil {
		return err
	}
	if err := r.negotiate(); err != nil {
		return err
	}
	level, err := r.level()
	if err != nil {
		return err
	}
	if r.row, err = op.Match(level, r.ctx.Method(), &r.query, &r.headers); err != nil {
		return err
	}
	if err := r.authenticate(); err != nil {
		return err
	}
	if err := r.checkRate(); err != nil {
		return err
	}
	if err := op.CheckSupported(r.row, &r.headers, &r.query); err != nil {
		return err
	}
	if r.target.secondary && !r.readOnly() {
		return azerr.InsufficientAccountPermissions
	}
	if err := r.checkBody(r.s.handlers[r.row.ID].most(r.version)); err != nil || r.readOnly() {
		return err
	}
	return r.account.Available() // a body that cannot be stored is not waited for
}

// readHeaders takes headers and framing. What it finds wrong is known only after all of them are read, so that the reply
// to a request with one bad header still carries the others it must echo.
func (r *request) readHeaders() (err error) {
	h := &r.ctx.Request.Header
	r.framing, r.broken, err = readHeaders(h.RawHeaders(), &r.headers)
	if p := h.Protocol(); string(p) != "HTTP/1.1" && string(p) != "HTTP/1.0" {
		r.broken = true // fasthttp takes HTTP/9.9 for an old version
		return azerr.InvalidInput.Because(errProtocol)
	}
	if err == nil && r.headers.Has(header.Expect) && !header.EqualFold(r.headers.Get(header.Expect), "100-continue") {
		err = azerr.BadHeader(header.Expect.String(), r.headers.String(header.Expect))
	}
	return err
}

// locate reads the address, down to the account.
func (r *request) locate() error {
	h := &r.ctx.Request.Header
	if err := r.target.parse(h.RequestURI(), h.Host(), r.s.addressing); err != nil {
		return err
	}
	if err := r.query.Parse(r.target.rawQuery); err != nil {
		return err
	}
	account, ok := r.s.o.Service.Account(string(r.target.account))
	if !ok {
		return azerr.ResourceNotFound
	}
	r.account = account
	return r.enterAccount()
}

// rootContainer holds the blobs that are addressed without a container.
const rootContainer = "$root"

// level says what the path names. One segment is a container if restype says so, otherwise a blob of the root container.
func (r *request) level() (op.Level, error) {
	switch {
	case r.target.segments == 0:
		return op.Service, nil
	case r.target.segments == 1 && r.query.Has("restype"):
		return op.Container, nil
	case r.target.segments == 1 && r.target.slash:
		return 0, azerr.InvalidUri
	case r.target.segments == 1:
		r.target.container, r.target.blob = rootContainer, r.target.container
	}
	return op.Blob, nil
}

// readOnly reports whether the operation changes nothing.
func (r *request) readOnly() bool {
	return r.ctx.IsGet() || r.ctx.IsHead() || r.ctx.IsOptions()
}

// panicked replies to a request whose handler panicked. What the connection and the body's buffer are used for nobody
// knows any more, so the one is closed and the other left to the garbage collector.
func (r *request) panicked(p any) {
	r.s.logPanic(r.id, p)
	r.s.blank(&r.ctx.Response)
	r.broken, r.body = true, nil
	r.fail(azerr.InternalError)
}

// logPanic writes down where a request panicked.
func (s *Server) logPanic(id [36]byte, p any) {
	s.metrics.panics.Inc()
	s.o.Log.Error("panic while serving a request", "request", string(id[:]), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}
