package server

import (
	"errors"

	"pagevault/blobstore"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
	"pagevault/internal/azure/xmlbody"
)

// made is what the headers say of a blob that is made, whatever its type.
type made struct {
	blobstore.HTTPHeaders
	Metadata []header.Pair
	Tags     []header.Pair
	blobstore.Protection
}

// made reads it. plain says whether HTTP's own headers count where the others are absent.
func (r *request) made(plain bool) (m made, err error) {
	if m.HTTPHeaders, _, err = r.httpHeaders(plain); err != nil {
		return m, err
	}
	if m.Metadata, err = header.ParseMetadata(&r.headers); err != nil {
		return m, err
	}
	if m.Tags, err = header.Tags(&r.headers); err != nil {
		return m, err
	}
	m.Protection, err = r.protection()
	return m, err
}

// putBlockBlob: Put Blob of a block blob, with its content.
func (r *request) putBlockBlob() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	m, err := r.made(true)
	if err != nil {
		return err
	}
	req := blobstore.PutBlockBlob{Access: acc, HTTPHeaders: m.HTTPHeaders, Metadata: m.Metadata, Tags: m.Tags, Protection: m.Protection}
	if req.Tier, err = r.tier(); err != nil {
		return err
	}
	sent, err := header.ParseBlobChecksum(&r.headers)
	if err != nil {
		return err
	}
	u, err := r.upload(sent, true)
	if err != nil {
		return err
	}
	defer u.finish()
	up := u.store()
	up.End = func() error {
		err := u.end()
		req.ContentMD5 = u.sum[:]
		return err
	}
	stamp, err := r.account.PutBlockBlob(ref, &req, up)
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(stamp)
	u.reply(true)
	r.setEncrypted("x-ms-request-server-encrypted")
	return nil
}

// putBlock: Put Block, which changes nothing that is seen of the blob.
func (r *request) putBlock() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	req := blobstore.PutBlock{Access: acc}
	if req.ID, err = blockID(&r.query); err != nil {
		return err
	}
	u, err := r.uploadData()
	if err != nil {
		return err
	}
	defer u.finish()
	if err := r.account.PutBlock(ref, &req, u.store()); err != nil {
		return err
	}
	r.begin(201)
	u.reply(false)
	r.setEncrypted("x-ms-request-server-encrypted")
	return nil
}

// uploadData begins to take a body that has to have content.
func (r *request) uploadData() (*upload, error) {
	sent, err := header.ParseChecksum(&r.headers)
	if err != nil {
		return nil, err
	}
	u, err := r.upload(sent, false)
	if err != nil {
		return nil, err
	}
	if err := u.data(); err != nil {
		u.finish()
		return nil, err
	}
	return u, nil
}

// blockID returns the id of the block that a query names.
func blockID(q *query.Set) ([]byte, error) {
	v, err := q.One("blockid")
	if err != nil {
		return nil, err
	}
	if !q.Has("blockid") {
		return nil, azerr.MissingRequiredQueryParameter.With("QueryParameterName", "blockid")
	}
	id, ok := header.AppendBlockID(nil, v)
	if !ok {
		return nil, azerr.BadQuery("blockid", string(v), "not the base64 of 1 to 64 bytes")
	}
	return id, nil
}

// putBlockList: Put Block List, which makes a blob of blocks that are there.
func (r *request) putBlockList() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	m, err := r.made(false)
	if err != nil {
		return err
	}
	req := blobstore.CommitBlocks{Access: acc, HTTPHeaders: m.HTTPHeaders, Metadata: m.Metadata, Tags: m.Tags, Protection: m.Protection}
	if req.Tier, err = r.tier(); err != nil {
		return err
	}
	sent, err := header.ParseChecksum(&r.headers)
	if err != nil {
		return err
	}
	u, err := r.upload(sent, false)
	if err != nil {
		return err
	}
	defer u.finish()
	if req.Blocks, err = u.blockList(); err != nil {
		return err
	}
	stamp, err := r.account.CommitBlocks(ref, &req)
	if err != nil {
		return err
	}
	r.begin(201)
	r.setStamp(stamp)
	u.reply(false)
	r.setEncrypted("x-ms-request-server-encrypted")
	return nil
}

// blockSources are the elements of a list in the store's words.
var blockSources = [...]blobstore.BlockSource{
	xmlbody.Latest:      blobstore.BlockLatest,
	xmlbody.Uncommitted: blobstore.BlockUncommitted,
	xmlbody.Committed:   blobstore.BlockCommitted,
}

// blockList reads a list of blocks. What the transport damaged is told as that, and not as what is wrong with the list then.
func (u *upload) blockList() ([]blobstore.ListedBlock, error) {
	var list []blobstore.ListedBlock
	var ids []byte // of several entries, one behind the other
	body := uploadReader{u: u}
	bad := xmlbody.ParseBlockList(&body, func(from xmlbody.BlockSource, id []byte) error {
		if cap(ids)-len(ids) < len(id) {
			ids = make([]byte, 0, min(16<<10, max(64, 2*cap(ids))))
		}
		at := len(ids)
		ids = append(ids, id...)
		list = append(list, blobstore.ListedBlock{From: blockSources[from], ID: ids[at:len(ids):len(ids)]})
		return nil
	})
	if err := body.end(); err != nil {
		return nil, err
	}
	return list, bad
}

// errListType is of a blocklisttype that there is none of.
var errListType = errors.New("not committed, uncommitted or all")

// getBlockList: Get Block List.
func (r *request) getBlockList() error {
	ref, acc, err := r.refAccess()
	if err != nil {
		return err
	}
	committed, uncommitted, err := listType(&r.query)
	if err != nil {
		return err
	}
	list, err := r.account.BlockList(ref, &acc, uncommitted)
	if err != nil {
		return r.readError(ref, err)
	}
	r.begin(200)
	if list.Exists {
		r.setStamp(list.Stamp)
	}
	r.setInt("x-ms-blob-content-length", list.Size)
	r.xml(func(dst []byte) []byte {
		dst = xmlbody.BeginBlocks(dst)
		if committed {
			dst = appendBlocks(dst, list.Committed, true)
		}
		if uncommitted {
			dst = appendBlocks(dst, list.Uncommitted, false)
		}
		return xmlbody.EndBlocks(dst)
	})
	return nil
}

// listType reads which blocks are asked for.
func listType(q *query.Set) (committed, uncommitted bool, err error) {
	v, err := q.One("blocklisttype")
	switch {
	case err != nil:
	case !q.Has("blocklisttype"), header.EqualFold(v, "committed"):
		committed = true
	case header.EqualFold(v, "uncommitted"):
		uncommitted = true
	case header.EqualFold(v, "all"):
		committed, uncommitted = true, true
	default:
		err = azerr.BadQuery("blocklisttype", string(v), errListType.Error())
	}
	return committed, uncommitted, err
}

func appendBlocks(dst []byte, blocks []blobstore.Block, committed bool) []byte {
	dst = xmlbody.BeginBlocksOf(dst, committed)
	for i := range blocks {
		dst = xmlbody.AppendBlock(dst, blocks[i].ID, blocks[i].Size)
	}
	return xmlbody.EndBlocksOf(dst, committed)
}
