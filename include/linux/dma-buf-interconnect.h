/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Negotiated interconnects between the exporter and the importers of a dma-buf.
 *
 * A chapter for authors of drivers is in docs/interconnect.md.
 */
#ifndef __LINUX_DMA_BUF_INTERCONNECT_H
#define __LINUX_DMA_BUF_INTERCONNECT_H

#include <linux/container_of.h>
#include <linux/dma-buf.h>
#include <linux/dma-direction.h>
#include <linux/err.h>
#include <linux/types.h>
#include <linux/wait.h>

struct device;
struct dma_buf_interconnect_attachment;
struct dma_buf_interconnect_match;
struct dma_buf_interconnect_negotiation;
struct module;
struct pci_dev;
struct seq_file;
struct sg_table;

/**
 * DOC: overview
 *
 * An *interconnect* is a way for a device to reach the memory behind a dma-buf.
 * Its *type* is identified by the address of a &struct dma_buf_interconnect_type.
 * The scatterlist (&dma_buf_sgt_type) is one type among others.
 *
 * An exporter that knows about interconnects embeds its &struct dma_buf_ops in
 * a &struct dma_buf_interconnect_exporter, an importer its
 * &struct dma_buf_attach_ops in a &struct dma_buf_interconnect_importer. Both
 * are registered. dma_buf_interconnect_attach() finds the exporter of a buffer
 * in the registry, by the address of its operations at that time, and
 * negotiates once. The result, &struct dma_buf_interconnect_match, belongs to
 * the attachment and never changes.
 *
 * All four combinations work: an exporter that is not in the registry gives an
 * importer of this API a scatterlist, and an importer that calls
 * dma_buf_attach() or dma_buf_dynamic_attach() gets one from an exporter of
 * this API, by its ordinary operations. Types other than the scatterlist are
 * for importers that can be revoked, which means that they have
 * &dma_buf_attach_ops.invalidate_mappings.
 *
 * Locking: the functions below say whether they need the reservation lock of
 * the buffer (&dma_buf.resv) or must be called without it. Where they say
 * "any context", they neither sleep nor take a lock that is not IRQ-safe.
 */

/**
 * DMA_BUF_INTERCONNECT_ENOMATCH - error of an attach when nothing is in common
 *
 * dma_buf_interconnect_attach() returns it when both sides were asked and no
 * type of the exporter matched one of the importer. It is distinct from
 * -EOPNOTSUPP, by which an exporter's &dma_buf_ops.attach says that the device
 * cannot reach the memory.
 */
#define DMA_BUF_INTERCONNECT_ENOMATCH	EPROTONOSUPPORT

/**
 * struct dma_buf_interconnect - what one side says about one type
 * @type: the type
 *
 * Embedded by each type in a structure of its own for the exporter's side and
 * in one for the importer's side, with what the type's match needs. It is used
 * during the negotiation only and may be on the stack.
 */
struct dma_buf_interconnect {
	const struct dma_buf_interconnect_type *type;
};

/**
 * struct dma_buf_interconnect_pair - two sides that may match
 * @exporter: what the exporter says
 * @importer: what the importer says, of the same type
 * @dmabuf: the buffer
 * @dev: the device that is being attached
 * @importer_ops: the importer's operations
 */
struct dma_buf_interconnect_pair {
	const struct dma_buf_interconnect *exporter;
	const struct dma_buf_interconnect *importer;
	struct dma_buf *dmabuf;
	struct device *dev;
	const struct dma_buf_attach_ops *importer_ops;
};

/**
 * struct dma_buf_interconnect_match - result of a negotiation
 * @type: the type on which exporter and importer agreed
 *
 * A type that has more to say embeds this as the member "base", at offset 0,
 * in a structure of its own, whose size is
 * &dma_buf_interconnect_type.match_size. Immutable; lives as long as the
 * attachment of which it is a part.
 */
struct dma_buf_interconnect_match {
	const struct dma_buf_interconnect_type *type;
};

/**
 * struct dma_buf_interconnect_type - descriptor of a mapping type
 *
 * Two sides speak of the same type if they name the same descriptor. Types
 * need no registration: whoever shares the descriptor shares the type. It must
 * be static data of @owner.
 */
struct dma_buf_interconnect_type {
	/** @name: for debugfs and messages. Mandatory. */
	const char *name;

	/**
	 * @owner:
	 *
	 * Module of the callbacks; each attachment of the type holds a reference
	 * on it. NULL if it is built in.
	 */
	struct module *owner;

	/**
	 * @match_size:
	 *
	 * Size of the structure that embeds &struct dma_buf_interconnect_match.
	 * 0 if the type has none of its own.
	 */
	size_t match_size;

	/**
	 * @match:
	 *
	 * Decide whether the two sides can use this type with each other.
	 *
	 * Called by dma_buf_match_interconnects(), without the reservation lock.
	 * May sleep, but must not wait for the lock of any buffer. The memory may
	 * be revoked and the exporter's device be on its way out, so that this
	 * must not access the device: only what cannot change and what the sides
	 * hold references on. Without this callback any two sides match.
	 *
	 * Returns:
	 *
	 * 0 if they match, -EOPNOTSUPP if the next pair is to be tried, another
	 * error to end the negotiation with that error.
	 */
	int (*match)(const struct dma_buf_interconnect_pair *pair);

	/**
	 * @finish_match:
	 *
	 * Fill in the result for the pair that @match has accepted. @match points
	 * to zeroed memory of @match_size bytes, of which the core has filled in
	 * the embedded part. What the result needs to stay valid (devices,
	 * operations) is referenced here. Called as @match is. Optional.
	 *
	 * Returns:
	 *
	 * 0, or an error, with which the attach fails; @release_match is not
	 * called then.
	 */
	int (*finish_match)(const struct dma_buf_interconnect_pair *pair,
			    struct dma_buf_interconnect_match *match);

	/**
	 * @release_match:
	 *
	 * Undo @finish_match, when the last reference to the attachment is gone.
	 * Called without the reservation lock; may sleep. Optional.
	 */
	void (*release_match)(struct dma_buf_interconnect_match *match);

	/**
	 * @debugfs_dump:
	 *
	 * Print what the result says on one line, beginning with a blank and
	 * without a newline. May sleep, must not take a reservation lock.
	 * Optional.
	 */
	void (*debugfs_dump)(struct seq_file *s,
			     const struct dma_buf_interconnect_match *match);
};

/**
 * struct dma_buf_interconnect_buffer - a buffer that can be revoked
 *
 * Embedded by exporters in what they keep for a dma-buf. It has the flag by
 * which mapping is refused and the number of mappings that exist. Its members
 * are private to the core; begin with dma_buf_interconnect_buffer_init().
 *
 * Mappings of types other than the scatterlist are checked and counted by the
 * core. The exporter does the same for scatterlists, of any importer, by
 * calling dma_buf_interconnect_buffer_map() in its &dma_buf_ops.map_dma_buf and
 * dma_buf_interconnect_buffer_unmap() in &dma_buf_ops.unmap_dma_buf.
 */
struct dma_buf_interconnect_buffer {
	/* private: */
	wait_queue_head_t wait;
	atomic_t mappings;
	bool revoked;
};

/**
 * struct dma_buf_interconnect_exporter - operations of an exporter
 * @base: the ordinary operations. A buffer is exported with the address of
 *	this member (&dma_buf_export_info.ops).
 * @owner: the module that has the operations and this structure. NULL if it is
 *	built in.
 *
 * Static and constant. @base works as everywhere; for an attachment that was
 * negotiated, dma_buf_interconnect_attachment() tells &dma_buf_ops.attach about
 * the result.
 */
struct dma_buf_interconnect_exporter {
	struct dma_buf_ops base;
	struct module *owner;

	/**
	 * @match_interconnects:
	 *
	 * Name the types that the buffer has to offer, best first, by one or more
	 * calls of dma_buf_match_interconnects(), and return what that returns.
	 * Called without the reservation lock, before &dma_buf_ops.attach. May
	 * sleep. Mandatory.
	 */
	int (*match_interconnects)(struct dma_buf *dmabuf,
				   struct dma_buf_interconnect_negotiation *negotiation);

	/**
	 * @buffer:
	 *
	 * Return the &struct dma_buf_interconnect_buffer of @dmabuf, which must
	 * live as long as @dmabuf. Optional; an exporter without it checks and
	 * counts in the operations of its types. Must not sleep.
	 */
	struct dma_buf_interconnect_buffer *(*buffer)(struct dma_buf *dmabuf);
};

/**
 * struct dma_buf_interconnect_importer - operations of an importer
 * @base: the ordinary operations. They are used for all attachments of this
 *	importer, whatever the exporter is. &dma_buf_attachment.importer_ops and
 *	&dma_buf_attachment.importer_priv belong to the core: use
 *	dma_buf_interconnect_attachment().
 * @owner: the module that has the operations and this structure; each
 *	attachment holds a reference on it. NULL if it is built in.
 * @name: for debugfs and messages. Mandatory.
 *
 * Static and constant.
 */
struct dma_buf_interconnect_importer {
	struct dma_buf_attach_ops base;
	struct module *owner;
	const char *name;
};

/**
 * struct dma_buf_interconnect_attachment - an attachment with its match
 * @dmabuf: the buffer; a reference is held
 * @dev: the device; a reference is held
 * @attach: the ordinary attachment. Valid from &dma_buf_ops.attach on until
 *	dma_buf_interconnect_detach().
 * @match: what was negotiated. Of a type with a structure of its own, that is
 *	found with container_of_const().
 * @importer: operations of the importer
 * @importer_priv: the importer's pointer
 * @exporter: operations of the exporter, NULL if it does not know this API
 *
 * Read-only for all but the core; all members stay as they are. Reference
 * counted, see dma_buf_interconnect_get().
 */
struct dma_buf_interconnect_attachment {
	struct dma_buf *dmabuf;
	struct device *dev;
	struct dma_buf_attachment *attach;
	const struct dma_buf_interconnect_match *match;
	const struct dma_buf_interconnect_importer *importer;
	void *importer_priv;
	const struct dma_buf_interconnect_exporter *exporter;
};

/* -- Registration ------------------------------------------------------------ */

/**
 * dma_buf_interconnect_register_exporter() - let importers find an exporter
 * @exporter: the operations
 *
 * From now on attachments to buffers with @exporter->base as their operations
 * are negotiated. To be called by the module that is @exporter->owner, when it
 * is loaded. May sleep.
 *
 * Return: 0, -ENOMEM, -EEXIST if it is registered already, -EINVAL if
 * @exporter is NULL or @exporter->match_interconnects is missing.
 */
int dma_buf_interconnect_register_exporter(const struct dma_buf_interconnect_exporter *exporter);

/**
 * dma_buf_interconnect_unregister_exporter() - undo the registration
 * @exporter: the operations
 *
 * When it returns no new negotiation finds the exporter: importers get a
 * scatterlist as from any exporter. Negotiated attachments stay as they are;
 * each has a reference on @exporter->owner, which therefore cannot be unloaded
 * before they are gone. May sleep. Does nothing if it is not registered.
 */
void dma_buf_interconnect_unregister_exporter(const struct dma_buf_interconnect_exporter *exporter);

/**
 * dma_buf_interconnect_register_importer() - allow an importer to negotiate
 * @importer: the operations
 *
 * To be called by the module that is @importer->owner, when it is loaded. May
 * sleep.
 *
 * Return: 0, -ENOMEM, -EEXIST if it is registered already, -EINVAL if
 * @importer is NULL or has no name.
 */
int dma_buf_interconnect_register_importer(const struct dma_buf_interconnect_importer *importer);
/**
 * dma_buf_interconnect_unregister_importer() - undo the registration
 * @importer: the operations
 *
 * When it returns, dma_buf_interconnect_attach() fails for @importer. Existing
 * attachments stay as they are, each with a reference on @importer->owner. May
 * sleep. Does nothing if it is not registered.
 */
void dma_buf_interconnect_unregister_importer(const struct dma_buf_interconnect_importer *importer);

/* -- Negotiation ------------------------------------------------------------- */

/**
 * dma_buf_interconnect_attach() - negotiate, and attach a device to a buffer
 * @dmabuf: the buffer; the caller has a reference
 * @dev: the device; the importer keeps it bound to its driver until it detaches
 * @importer: operations of the importer, registered
 * @importer_priv: for &dma_buf_interconnect_attachment.importer_priv
 * @ics: what the importer says about the types that it can use, in any order:
 *	the exporter's order decides. Not needed after the call.
 * @num_ics: number of elements of @ics. With none, nothing is in common.
 *
 * Takes the place of dma_buf_dynamic_attach(). The exporter is asked for its
 * types (&dma_buf_interconnect_exporter.match_interconnects); the first one
 * that matches one of the importer's is the result. Then
 * &dma_buf_ops.attach of the exporter is called, which knows the result. An
 * exporter that is not registered has a scatterlist.
 *
 * Types other than the scatterlist are passed over if @importer has no
 * &dma_buf_attach_ops.invalidate_mappings, as it could not be revoked then.
 *
 * &dma_buf_attach_ops.invalidate_mappings may be called before this returns;
 * there is nothing to unmap then.
 *
 * Takes references on the buffer, the device and the modules of exporter,
 * importer and type. Must be called without the reservation lock. May sleep.
 *
 * Return: the attachment, to be given to dma_buf_interconnect_detach(), or an
 * error pointer: -%DMA_BUF_INTERCONNECT_ENOMATCH if nothing is in common,
 * -EINVAL if @importer is not registered, a pointer is NULL, or the type on
 * which both agree has no name, -ENODEV if a module is being unloaded, -ENOMEM,
 * what the match of a type returned, or what dma_buf_dynamic_attach() returned.
 */
struct dma_buf_interconnect_attachment *
dma_buf_interconnect_attach(struct dma_buf *dmabuf, struct device *dev,
			    const struct dma_buf_interconnect_importer *importer,
			    void *importer_priv,
			    const struct dma_buf_interconnect *const *ics,
			    unsigned int num_ics);
/**
 * dma_buf_interconnect_detach() - undo dma_buf_interconnect_attach()
 * @ica: the attachment. There must be no mappings left.
 *
 * Drops the caller's reference. Must be called without the reservation lock,
 * once. May sleep.
 */
void dma_buf_interconnect_detach(struct dma_buf_interconnect_attachment *ica);
/**
 * dma_buf_interconnect_get() - take a reference
 * @ica: the attachment; the caller has a reference, or it is attached
 *
 * It keeps the structure with its match, and the references that these hold,
 * beyond dma_buf_interconnect_detach(). Any context.
 */
void dma_buf_interconnect_get(struct dma_buf_interconnect_attachment *ica);
/**
 * dma_buf_interconnect_put() - drop a reference
 * @ica: the attachment, with a reference by dma_buf_interconnect_get()
 *
 * Must be called without the reservation lock. May sleep.
 */
void dma_buf_interconnect_put(struct dma_buf_interconnect_attachment *ica);
/**
 * dma_buf_interconnect_attachment() - find what was negotiated
 * @attach: an attachment that is not detached
 *
 * For exporters from &dma_buf_ops.attach to &dma_buf_ops.detach, and for
 * importers in &dma_buf_attach_ops.invalidate_mappings. Does not sleep; not
 * for interrupts.
 *
 * Return: the negotiated attachment, without a reference, or NULL if the
 * importer has attached with dma_buf_attach() or dma_buf_dynamic_attach().
 */
struct dma_buf_interconnect_attachment *
dma_buf_interconnect_attachment(struct dma_buf_attachment *attach);
/**
 * dma_buf_match_interconnects() - name what an exporter has to offer
 * @negotiation: the argument of
 *	&dma_buf_interconnect_exporter.match_interconnects
 * @ics: what the exporter says about its types, best first. Not needed after
 *	the call.
 * @num_ics: number of elements of @ics
 *
 * Each element is compared with those of the importer that name the same type,
 * until the match of the type returns something else than -EOPNOTSUPP. May be
 * called several times with less and less preferred types; after a match or an
 * error it changes nothing. Without the reservation lock. May sleep.
 *
 * Return: 0 if there is a match, -%DMA_BUF_INTERCONNECT_ENOMATCH if there is
 * none so far, -EINVAL if @ics is NULL although @num_ics is not 0, or the error
 * that ended the negotiation.
 */
int dma_buf_match_interconnects(struct dma_buf_interconnect_negotiation *negotiation,
				const struct dma_buf_interconnect *const *ics,
				unsigned int num_ics);

/* -- Mapping ------------------------------------------------------------------ */

/**
 * dma_buf_interconnect_begin_map() - check and count a mapping
 * @ica: the attachment
 * @type: the type of which a mapping is made
 *
 * For functions that map; see DEFINE_DMA_BUF_INTERCONNECT_MAP(). Undone by
 * dma_buf_interconnect_end_unmap(). The reservation lock is held. Does not
 * sleep.
 *
 * Return: 0, -EINVAL if another type was negotiated, -ENODEV if the buffer was
 * revoked or is detached.
 */
int dma_buf_interconnect_begin_map(struct dma_buf_interconnect_attachment *ica,
				   const struct dma_buf_interconnect_type *type);
/**
 * dma_buf_interconnect_begin_unmap() - check that there is a mapping
 * @ica: the attachment
 * @type: the type of which a mapping is undone
 *
 * The reservation lock is held. Does not sleep.
 *
 * Return: whether @type was negotiated and there is a mapping. If not, there is
 * a warning, and the caller must not go on.
 */
bool dma_buf_interconnect_begin_unmap(struct dma_buf_interconnect_attachment *ica,
				      const struct dma_buf_interconnect_type *type);
/**
 * dma_buf_interconnect_end_unmap() - count a mapping less
 * @ica: the attachment
 *
 * After dma_buf_interconnect_begin_unmap(), when the exporter has undone the
 * mapping, or after dma_buf_interconnect_begin_map() when it has failed. The
 * reservation lock is held. Does not sleep.
 */
void dma_buf_interconnect_end_unmap(struct dma_buf_interconnect_attachment *ica);
/**
 * dma_buf_interconnect_mappings() - number of mappings of an attachment
 * @ica: the attachment
 *
 * Any context. Without the reservation lock it may change at once.
 *
 * Return: the number.
 */
unsigned int dma_buf_interconnect_mappings(const struct dma_buf_interconnect_attachment *ica);

/**
 * DEFINE_DMA_BUF_INTERCONNECT_MAP() - define the typed map and unmap of a type
 * @prefix: of the names of the two functions
 * @type_address: address of the &struct dma_buf_interconnect_type
 * @match_type: the type's structure with the match as its member "base". Its
 *	member "ops" points to a structure with the exporter's functions
 *	map_interconnect() and unmap_interconnect(), with the prototypes of the
 *	functions that are defined here. Both must be there: the type's match is
 *	where an exporter without them is refused.
 * @mapping_type: what a mapping is
 *
 * Defines two inline functions:
 *
 * ``mapping_type *prefix_map_interconnect(ica, direction)`` maps the buffer for
 * an attachment that was negotiated to be of the type. The caller holds the
 * reservation lock, waits for the fences of %DMA_RESV_USAGE_KERNEL before the
 * device uses the memory, and unmaps before it detaches. May sleep. Returns an
 * error pointer on failure: -EINVAL if another type was negotiated, -ENODEV if
 * the memory was revoked, or what the exporter's function returns (NULL counts
 * as -ENOMEM).
 *
 * ``void prefix_unmap_interconnect(ica, mapping, direction)`` undoes it. The
 * caller holds the reservation lock; it may be called from
 * &dma_buf_attach_ops.invalidate_mappings. May sleep.
 */
#define DEFINE_DMA_BUF_INTERCONNECT_MAP(prefix, type_address, match_type, mapping_type)		\
static inline mapping_type *									\
prefix##_map_interconnect(struct dma_buf_interconnect_attachment *ica,				\
			  enum dma_data_direction direction)					\
{												\
	int ret = dma_buf_interconnect_begin_map(ica, type_address);				\
	mapping_type *mapping;									\
												\
	if (ret)										\
		return ERR_PTR(ret);								\
	mapping = container_of_const(ica->match, match_type, base)->ops->map_interconnect(	\
			ica, direction);							\
	if (!mapping)										\
		mapping = ERR_PTR(-ENOMEM);							\
	if (IS_ERR(mapping))									\
		dma_buf_interconnect_end_unmap(ica);						\
	return mapping;										\
}												\
												\
static inline void										\
prefix##_unmap_interconnect(struct dma_buf_interconnect_attachment *ica,			\
			    mapping_type *mapping,						\
			    enum dma_data_direction direction)					\
{												\
	if (!dma_buf_interconnect_begin_unmap(ica, type_address))				\
		return;										\
	container_of_const(ica->match, match_type, base)->ops->unmap_interconnect(		\
			ica, mapping, direction);						\
	dma_buf_interconnect_end_unmap(ica);							\
}

/* -- Revocation ---------------------------------------------------------------- */

/**
 * struct dma_buf_interconnect_left - who did not let go in time
 * @mappings: number of mappings that still exist, of all kinds
 * @negotiated: how many of them belong to negotiated attachments, which
 *	dma_buf_interconnect_for_each() visits
 * @fences: fences of %DMA_RESV_USAGE_BOOKKEEP have not signalled
 */
struct dma_buf_interconnect_left {
	unsigned int mappings;
	unsigned int negotiated;
	bool fences;
};

/**
 * dma_buf_interconnect_buffer_init() - begin with a buffer that may be mapped
 * @buffer: the state
 *
 * Any context.
 */
void dma_buf_interconnect_buffer_init(struct dma_buf_interconnect_buffer *buffer);
/**
 * dma_buf_interconnect_buffer_map() - check and count a scatterlist
 * @buffer: the state of the buffer
 *
 * To be called by &dma_buf_ops.map_dma_buf, with the reservation lock held;
 * undone by dma_buf_interconnect_buffer_unmap(). Does not sleep.
 *
 * Return: 0, or -ENODEV if the buffer was revoked.
 */
int dma_buf_interconnect_buffer_map(struct dma_buf_interconnect_buffer *buffer);
/**
 * dma_buf_interconnect_buffer_unmap() - count a scatterlist less
 * @buffer: the state of the buffer
 *
 * To be called by &dma_buf_ops.unmap_dma_buf, and by &dma_buf_ops.map_dma_buf
 * when it fails after dma_buf_interconnect_buffer_map(). The reservation lock
 * is held. Does not sleep. If there is no mapping, there is a warning.
 */
void dma_buf_interconnect_buffer_unmap(struct dma_buf_interconnect_buffer *buffer);
/**
 * dma_buf_interconnect_revoke() - take a buffer back, in bounded time
 * @dmabuf: the buffer; the caller has a reference
 * @buffer: its state
 * @timeout: the longest time to wait, in jiffies, from the call on
 * @left: who did not let go. May be NULL.
 *
 * With the reservation lock held, mapping is refused from now on, and the
 * importers' mappings are invalidated. Then, without the lock, the fences of
 * %DMA_RESV_USAGE_BOOKKEEP are waited for, and until there is no mapping any
 * more. Both waits end at @timeout. What can take longer is what is not a wait
 * of this function: for the lock, if somebody holds it, and inside
 * &dma_buf_attach_ops.invalidate_mappings. An attach that is under way at that
 * moment is not notified; it fails at its first map.
 *
 * The buffer stays revoked until dma_buf_interconnect_restore(), whatever this
 * returns, and this may be called again, to wait longer. If importers keep
 * mappings, the memory must not be given to anyone else: keep it until they
 * are gone.
 *
 * Must be called without the reservation lock. Sleeps.
 *
 * Return: 0 if nobody has access any more, -ETIMEDOUT if somebody may.
 */
int dma_buf_interconnect_revoke(struct dma_buf *dmabuf,
				struct dma_buf_interconnect_buffer *buffer,
				unsigned long timeout,
				struct dma_buf_interconnect_left *left);
/**
 * dma_buf_interconnect_restore() - allow mapping again
 * @dmabuf: the buffer
 * @buffer: its state
 *
 * Must be called without the reservation lock. Sleeps.
 */
void dma_buf_interconnect_restore(struct dma_buf *dmabuf,
				  struct dma_buf_interconnect_buffer *buffer);
/**
 * dma_buf_interconnect_for_each() - visit the negotiated attachments
 * @dmabuf: the buffer
 * @fn: called for each with the number of its mappings; must not detach
 * @data: argument of @fn
 *
 * The reservation lock is held. Does not sleep, unless @fn does.
 */
void dma_buf_interconnect_for_each(struct dma_buf *dmabuf,
				   void (*fn)(struct dma_buf_interconnect_attachment *ica,
					      unsigned int mappings, void *data),
				   void *data);

/* -- SGT: the scatterlist -------------------------------------------------------- */

/**
 * struct dma_buf_sgt_interconnect - either side of %dma_buf_sgt_type
 * @base: embedded
 * @peer2peer: on the exporter's side: the memory has no struct pages, so that
 *	only importers with &dma_buf_attach_ops.allow_peer2peer match. Ignored
 *	on the importer's side.
 */
struct dma_buf_sgt_interconnect {
	struct dma_buf_interconnect base;
	bool peer2peer;
};

/*
 * The scatterlist. Mapped by the exporter's &dma_buf_ops.map_dma_buf; its match
 * has no structure of its own.
 */
extern const struct dma_buf_interconnect_type dma_buf_sgt_type;

/**
 * dma_buf_sgt_map_interconnect() - map a scatterlist
 * @ica: the attachment, of %dma_buf_sgt_type
 * @direction: of the transfers
 *
 * As dma_buf_map_attachment(): the reservation lock is held, and the fences of
 * %DMA_RESV_USAGE_KERNEL are to be waited for. May sleep.
 *
 * Return: the table, or an error pointer: -EINVAL if another type was
 * negotiated, or the exporter's error.
 */
struct sg_table *dma_buf_sgt_map_interconnect(struct dma_buf_interconnect_attachment *ica,
					      enum dma_data_direction direction);
/**
 * dma_buf_sgt_unmap_interconnect() - undo dma_buf_sgt_map_interconnect()
 * @ica: the attachment
 * @table: the table
 * @direction: as for the map
 *
 * The reservation lock is held; may be called from
 * &dma_buf_attach_ops.invalidate_mappings. May sleep.
 */
void dma_buf_sgt_unmap_interconnect(struct dma_buf_interconnect_attachment *ica,
				    struct sg_table *table,
				    enum dma_data_direction direction);

/* -- IOV: memory of a VF, for its PF ---------------------------------------------- */

/*
 * The memory of a virtual function, for the physical function of the same
 * device, which reaches it inside the device. Neither DMA nor physical
 * addresses are handed out: only where in a BAR of the VF the memory is.
 */
extern const struct dma_buf_interconnect_type dma_buf_iov_type;

/**
 * struct dma_buf_iov_range - a part of a BAR of a VF
 * @offset: from the beginning of the BAR, in bytes
 * @len: in bytes
 * @bar: number of the BAR
 * @pad: 0
 */
struct dma_buf_iov_range {
	u64 offset;
	u64 len;
	u32 bar;
	u32 pad;
};

/**
 * struct dma_buf_iov_ranges - a mapping of %dma_buf_iov_type
 * @count: number of ranges
 * @ranges: the ranges, in the order of the buffer
 *
 * One allocation, made by dma_buf_iov_ranges_alloc().
 */
struct dma_buf_iov_ranges {
	u32 count;
	struct dma_buf_iov_range ranges[] __counted_by(count);
};

/**
 * struct dma_buf_iov_ops - what an exporter of %dma_buf_iov_type does
 *
 * Static data of the exporter's module.
 */
struct dma_buf_iov_ops {
	/**
	 * @map_interconnect:
	 *
	 * Return the ranges, or an error pointer. Called with the reservation
	 * lock held; may sleep. The memory stays where it is until
	 * @unmap_interconnect, or until it is invalidated. Mandatory.
	 */
	struct dma_buf_iov_ranges *(*map_interconnect)(struct dma_buf_interconnect_attachment *ica,
						       enum dma_data_direction direction);

	/**
	 * @unmap_interconnect:
	 *
	 * Undo @map_interconnect, and free what that returned. Called with the
	 * reservation lock held, possibly from within
	 * dma_buf_invalidate_mappings(); may sleep. Mandatory.
	 */
	void (*unmap_interconnect)(struct dma_buf_interconnect_attachment *ica,
				   struct dma_buf_iov_ranges *ranges,
				   enum dma_data_direction direction);
};

/**
 * struct dma_buf_iov_exporter - the exporter's side of %dma_buf_iov_type
 * @base: embedded
 * @vf: the VF whose memory it is. The exporter holds a reference.
 * @bar: number of the BAR through which the VF reaches the memory
 * @ops: the exporter's operations
 */
struct dma_buf_iov_exporter {
	struct dma_buf_interconnect base;
	struct pci_dev *vf;
	unsigned int bar;
	const struct dma_buf_iov_ops *ops;
};

/**
 * struct dma_buf_iov_importer - the importer's side of %dma_buf_iov_type
 * @base: embedded
 * @bar: number of the BAR that the PF can translate
 *
 * The device that is attached must be the PF.
 */
struct dma_buf_iov_importer {
	struct dma_buf_interconnect base;
	unsigned int bar;
};

/**
 * struct dma_buf_iov_match - result of a negotiation of %dma_buf_iov_type
 * @base: embedded
 * @vf: the VF; a reference is held
 * @pf: its PF, the importer's device, on which the attachment has a reference
 * @vf_number: number of the VF, counted from 1 as in the SR-IOV specification
 *	(pci_iov_vf_id() plus 1)
 * @bar: the BAR that both sides speak of
 * @ops: the exporter's operations
 */
struct dma_buf_iov_match {
	struct dma_buf_interconnect_match base;
	struct pci_dev *vf;
	struct pci_dev *pf;
	unsigned int vf_number;
	unsigned int bar;
	const struct dma_buf_iov_ops *ops;
};

/**
 * to_dma_buf_iov_match() - the IOV match of an attachment
 * @ica: the attachment
 *
 * Any context.
 *
 * Return: the match, or NULL if another type was negotiated.
 */
static inline const struct dma_buf_iov_match *
to_dma_buf_iov_match(const struct dma_buf_interconnect_attachment *ica)
{
	if (ica->match->type != &dma_buf_iov_type)
		return NULL;
	return container_of_const(ica->match, struct dma_buf_iov_match, base);
}

/**
 * dma_buf_iov_ranges_alloc() - make room for ranges
 * @count: number of ranges
 *
 * One allocation, which is not zeroed. May sleep.
 *
 * Return: the structure with its count, or NULL.
 */
struct dma_buf_iov_ranges *dma_buf_iov_ranges_alloc(u32 count);
/**
 * dma_buf_iov_ranges_free() - free what dma_buf_iov_ranges_alloc() returned
 * @ranges: the ranges, or NULL
 *
 * Not for interrupts.
 */
void dma_buf_iov_ranges_free(struct dma_buf_iov_ranges *ranges);
/**
 * dma_buf_iov_ranges_check() - check ranges before they are used
 * @ica: the attachment, of %dma_buf_iov_type
 * @ranges: what was mapped
 * @limit: how much of the BAR the VF may have memory behind, in bytes: its
 *	quota, which can be less than the size of the BAR
 *
 * The ranges are what the exporter says. Each must be of the negotiated BAR,
 * not empty, and end within @limit, and together they must be as large as the
 * buffer. Any context.
 *
 * Return: 0, -ERANGE if one ends beyond @limit or wraps around, -EINVAL
 * otherwise.
 */
int dma_buf_iov_ranges_check(const struct dma_buf_interconnect_attachment *ica,
			     const struct dma_buf_iov_ranges *ranges, u64 limit);

DEFINE_DMA_BUF_INTERCONNECT_MAP(dma_buf_iov, &dma_buf_iov_type, struct dma_buf_iov_match,
				struct dma_buf_iov_ranges)

#endif /* __LINUX_DMA_BUF_INTERCONNECT_H */
