/* sam3i.h: the C interface of sam3i. A picture and a sentence in; masks, boxes and scores out.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *     sam3i_model *model = NULL;
 *     sam3i_image *image = NULL;
 *     sam3i_segmentation *found = NULL;
 *     sam3i_prompt prompt = SAM3I_PROMPT_INIT;
 *     prompt.text = "the mug left of the laptop";
 *     if (sam3i_model_load("sam3i.safetensors", NULL, &model) != SAM3I_OK ||
 *         sam3i_image_encode(model, rgb, width, height, stride, NULL, &image) != SAM3I_OK ||  // once
 *         sam3i_segment(model, image, &prompt, NULL, &found) != SAM3I_OK)                     // any number of times
 *         fprintf(stderr, "%s\n", sam3i_last_error());
 *
 * capi/examples/segment.c is a whole program.
 *
 * Ownership. A handle that a function writes to its last parameter belongs to the caller, who hands it once to the
 * function of its name that ends in _free; NULL is fine there. Handles may be freed in any order: a model keeps the
 * device it needs. Whatever is passed in stays the caller's, and the library keeps no pointer to it after the call. A
 * string that is returned belongs to the handle it was asked of and lives as long; nobody frees it.
 *
 * Threads. Every handle may be used by several threads at the same time, without locks. Only _free needs that no other
 * call with that handle is running or will come. A call returns when its work is done; a CPU device works on threads of
 * its own.
 *
 * Errors. Functions that can fail return a sam3i_status. If it is not SAM3I_OK, sam3i_last_error() is a sentence that
 * says what happened and what to do about it, handles that were to be written are NULL, and other results are
 * untouched. A pointer that must not be NULL and is, a number out of range, and text that is not UTF-8 are such errors.
 * What cannot be checked is the caller's promise: that pointers lead to what this file says is there.
 *
 * Units. Coordinates are pixels of the picture as it was handed over, counted from its upper left corner, x to the
 * right, y down; they need not be whole. Scores and thresholds go from 0 to 1. Sizes of memory are bytes. Text is UTF-8
 * that ends in a zero byte.
 *
 * What the library does not do. It opens no network connection, prints nothing, and keeps no state but each thread's
 * last error. (A bug in it, SAM3I_ERROR_INTERNAL, may say on stderr where it stands.) No exception and no panic leaves
 * it.
 *
 * Growth. Structs of options and results begin with their size in bytes, as their *_INIT below fills it in. Later
 * versions add members at the end only, and a member that is zero then means what was done before it existed. So a
 * program runs with a library that is newer than its header; and with an older one as long as it leaves at zero what
 * that one lacks, else the call is refused.
 *
 * Linking. Shared: -lsam3i_capi. Static on Linux: libsam3i_capi.a -lgcc_s -lutil -lrt -lpthread -lm -ldl.
 */
#ifndef SAM3I_H
#define SAM3I_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ---------------------------------------------------------------------------------------------------- */

/* The version of this interface. It changes when programs have to be compiled anew. */
#define SAM3I_ABI_VERSION 1

/* The SAM3I_ABI_VERSION the library was built with. A program should refuse one that is not its own. */
uint32_t sam3i_abi_version(void);

/* The version of sam3i, such as "0.1.0". Lives as long as the library. */
const char *sam3i_version(void);

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

/* How a call ended. */
typedef int32_t sam3i_status;

/* The values of a sam3i_status. */
enum {
    /* It did what it was asked for. */
    SAM3I_OK = 0,
    /* An argument cannot be used: a NULL pointer, an empty prompt, a box outside the picture, ... */
    SAM3I_ERROR_ARGUMENT = 1,
    /* There is no model there, or its files are not those of a whole model. */
    SAM3I_ERROR_MODEL = 2,
    /* The device is not there, does not start, failed, or has too little memory. */
    SAM3I_ERROR_DEVICE = 3,
    /* A sam3i_watch asked to stop. All handles can be used on. */
    SAM3I_ERROR_STOPPED = 4,
    /* A buffer of the caller's is too small. Nothing was written to it. */
    SAM3I_ERROR_BUFFER = 5,
    /* A bug in sam3i. All handles can be used on. */
    SAM3I_ERROR_INTERNAL = 6
};

/* What went wrong in the last call of this thread that failed, as a sentence; "" before the first one. It lives until
 * the next call of this thread that fails, or the thread's end. */
const char *sam3i_last_error(void);

/* ---- Devices ---------------------------------------------------------------------------------------------------- */

/* What computes. Needed only by those who want another one than the CPU with all its cores, or to know its memory. */
typedef struct sam3i_device sam3i_device;

/* Kinds of devices. */
enum {
    /* The CPU: hand-written kernels for the widest instruction set it has. */
    SAM3I_DEVICE_CPU = 0,
    /* A GPU. Only in a library built with the feature `gpu`. */
    SAM3I_DEVICE_GPU = 1,
    /* Plain loops on one thread: slow, and what the others are checked against. */
    SAM3I_DEVICE_REFERENCE = 2
};

/* Types to compute in. */
enum {
    /* Single precision. Every device has it. */
    SAM3I_DTYPE_F32 = 0,
    /* GPU: weights in half precision. */
    SAM3I_DTYPE_F16 = 1,
    /* CPU: products in bfloat16, on processors that have them. */
    SAM3I_DTYPE_BF16 = 2,
    /* CPU: linear layers in 8 bits. The smallest, and the least exact. */
    SAM3I_DTYPE_INT8 = 3
};

/* How a device is to run. */
typedef struct sam3i_device_options {
    /* sizeof(sam3i_device_options). */
    size_t size;
    /* One of SAM3I_DEVICE_*. */
    int32_t kind;
    /* One of SAM3I_DTYPE_*. */
    int32_t dtype;
    /* CPU: threads to use, at most 1024; 0 for one a core. */
    uint32_t threads;
    /* GPU: which one, in the order of the command `sam3i devices`; -1 for the best. */
    int32_t gpu_number;
    /* GPU: most bytes of its memory to take; 0 for no bound. */
    uint64_t gpu_memory;
} sam3i_device_options;

#define SAM3I_DEVICE_OPTIONS_INIT \
    { sizeof(sam3i_device_options), SAM3I_DEVICE_CPU, SAM3I_DTYPE_F32, 0, -1, 0 }

/* Starts a device. `options` may be NULL: the CPU, with all its cores, in f32.
 * Errors: ARGUMENT, DEVICE. */
sam3i_status sam3i_device_create(const sam3i_device_options *options, sam3i_device **device);

/* What it is, for people: "cpu (avx512, 8 threads)". NULL if `device` is NULL. */
const char *sam3i_device_name(const sam3i_device *device);

/* The memory that tensors take on it: now, and the most there ever was. Either pointer may be NULL.
 * Errors: ARGUMENT. */
sam3i_status sam3i_device_memory(const sam3i_device *device, uint64_t *live, uint64_t *peak);

/* Gives memory that is kept for reuse back to the system. Nothing happens if `device` is NULL. */
void sam3i_device_trim(const sam3i_device *device);

/* Gives the device up. Models that run on it keep it going until they are freed. */
void sam3i_device_free(sam3i_device *device);

/* ---- Models ----------------------------------------------------------------------------------------------------- */

/* A model on a device. The text encoder, and the adapters of each level, are read when a prompt first needs them: the
 * files must stay as they are until it is freed. */
typedef struct sam3i_model sam3i_model;

/* Loads the model at `path`: a .safetensors or .pt file, or a directory of one. Nothing is loaded unless every tensor
 * is there. On Unix a path is whatever bytes the system takes; elsewhere it is UTF-8. `device` may be NULL: the CPU,
 * with all its cores, in f32.
 * Errors: ARGUMENT, MODEL, DEVICE. */
sam3i_status sam3i_model_load(const char *path, const sam3i_device *device, sam3i_model **model);

/* Loads nano, the miniature model inside the library: for trying things out. It knows drawn scenes of everyday things
 * and nothing of photographs. `device` as above.
 * Errors: ARGUMENT, MODEL (it was left out of this build: feature `embedded-nano`), DEVICE. */
sam3i_status sam3i_model_load_embedded(const sam3i_device *device, sam3i_model **model);

/* What a user should know about a model, a sentence a line, without an end of line after the last: what it is, and what
 * it lacks, such as the adapters without which every level runs as SAM3I_LEVEL_CONCEPT. NULL if `model` is NULL. */
const char *sam3i_model_description(const sam3i_model *model);

/* Frees a model and its memory. Pictures it encoded can then only be freed. */
void sam3i_model_free(sam3i_model *model);

/* ---- Being told, and stopping ----------------------------------------------------------------------------------- */

/* Parts of the work. */
enum {
    /* Looking at the picture: a step is a block of the ViT. */
    SAM3I_STAGE_IMAGE = 0,
    /* Reading the sentence: a step is a block of the text encoder. A sentence that was seen before takes none. */
    SAM3I_STAGE_TEXT = 1,
    /* Looking for what it means: a step is a layer of the fusion encoder or of the decoder. */
    SAM3I_STAGE_GROUNDING = 2,
    /* Making masks: a step is a mask. */
    SAM3I_STAGE_MASKS = 3
};

/* Is called before each step, on the thread that made the call: `done` of the `of` steps of `stage`, one of
 * SAM3I_STAGE_*, have been taken. `user` is what came with it. Returns 0 to go on; anything else ends the call with
 * SAM3I_ERROR_STOPPED. It must not throw, nor leave by longjmp, nor free the handles of the call. To stop from another
 * thread or a signal handler, set a flag that it reads. */
typedef int32_t (*sam3i_watch)(void *user, int32_t stage, size_t done, size_t of);

/* ---- Pictures --------------------------------------------------------------------------------------------------- */

/* A picture a model has looked at. */
typedef struct sam3i_image sam3i_image;

/* How a picture is brought to the model's size; all are bilinear, antialiased, and do not keep the aspect. */
enum {
    /* The reference's interactive path on a CPU. */
    SAM3I_RESIZE_EXACT8 = 0,
    /* The reference's batch script, where its published numbers come from. */
    SAM3I_RESIZE_PILLOW = 1,
    /* The reference's interactive path on a GPU. */
    SAM3I_RESIZE_FLOAT = 2
};

/* How a picture is to be looked at. */
typedef struct sam3i_encode_options {
    /* sizeof(sam3i_encode_options). */
    size_t size;
    /* Who is told of each step; NULL for nobody. */
    sam3i_watch watch;
    /* What `watch` is called with. */
    void *watch_user;
    /* One of SAM3I_RESIZE_*. */
    int32_t resize;
    /* 0. */
    int32_t reserved;
} sam3i_encode_options;

#define SAM3I_ENCODE_OPTIONS_INIT \
    { sizeof(sam3i_encode_options), NULL, NULL, SAM3I_RESIZE_EXACT8, 0 }

/* Looks at a picture: the expensive part, needed once for any number of prompts. Row y of the picture is the
 * 3 * `width` bytes R, G, B, R, G, B, ... at `rgb` + y * `stride`; `stride` may be more than 3 * `width`, and the bytes
 * between rows do not matter. All bytes up to the last pixel must be readable, and nobody may write to them during the
 * call. The picture is to be the right way up: turn it as its EXIF says first. `options` may be NULL.
 * Errors: ARGUMENT, DEVICE, STOPPED. */
sam3i_status sam3i_image_encode(const sam3i_model *model, const uint8_t *rgb, size_t width, size_t height,
                                size_t stride, const sam3i_encode_options *options, sam3i_image **image);

/* Frees a picture and its memory. */
void sam3i_image_free(sam3i_image *image);

/* ---- Prompts ---------------------------------------------------------------------------------------------------- */

/* How much a sentence asks for. */
enum {
    /* A noun phrase, "red apple": every instance. Plain SAM3. */
    SAM3I_LEVEL_CONCEPT = 0,
    /* A phrase that refers, "the mug left of the laptop": positions, order, size, colour. */
    SAM3I_LEVEL_SIMPLE = 1,
    /* An instruction that names no noun, "what would keep you dry?". */
    SAM3I_LEVEL_COMPLEX = 2
};

/* An example box, with x0 < x1 and y0 < y1. It may reach beyond the picture but not lie outside. */
typedef struct sam3i_box {
    /* Left edge. */
    float x0;
    /* Upper edge. */
    float y0;
    /* Right edge. */
    float x1;
    /* Lower edge. */
    float y1;
    /* Whether it shows what is meant (1) or what is not (0). */
    int32_t positive;
} sam3i_box;

/* An example point, in the picture. Only for weights that take points: Hugging Face's files do not. */
typedef struct sam3i_point {
    /* Pixels from the left. */
    float x;
    /* Pixels from above. */
    float y;
    /* Whether it lies on what is meant (1) or on what is not (0). */
    int32_t positive;
} sam3i_point;

/* What a picture is asked for: a sentence, examples, or both. */
typedef struct sam3i_prompt {
    /* sizeof(sam3i_prompt). */
    size_t size;
    /* The sentence; NULL if the examples say it all. It is read up to 32 tokens: see `truncated` in sam3i_summary. */
    const char *text;
    /* `box_count` example boxes; NULL if there are none. */
    const sam3i_box *boxes;
    size_t box_count;
    /* `point_count` example points; NULL if there are none. */
    const sam3i_point *points;
    size_t point_count;
    /* One of SAM3I_LEVEL_*. Without a sentence it is SAM3I_LEVEL_CONCEPT, whatever stands here. */
    int32_t level;
    /* 0. */
    int32_t reserved;
} sam3i_prompt;

#define SAM3I_PROMPT_INIT \
    { sizeof(sam3i_prompt), NULL, NULL, 0, NULL, 0, SAM3I_LEVEL_SIMPLE, 0 }

/* What counts as an answer. */
typedef struct sam3i_segment_options {
    /* sizeof(sam3i_segment_options). */
    size_t size;
    /* Finds with a score above this are kept: 0 to 1. */
    float threshold;
    /* Pixels with a probability above this belong to a mask: 0 to 1. */
    float mask_threshold;
    /* Keep at most so many, the best; 0 for all. */
    size_t top_k;
    /* Drop masks of fewer pixels. */
    size_t min_area;
    /* Who is told of each step; NULL for nobody. */
    sam3i_watch watch;
    /* What `watch` is called with. */
    void *watch_user;
} sam3i_segment_options;

#define SAM3I_SEGMENT_OPTIONS_INIT \
    { sizeof(sam3i_segment_options), 0.5f, 0.5f, 0, 0, NULL, NULL }

/* The answer to a prompt: any number of instances, best first. It needs neither model nor picture any more. */
typedef struct sam3i_segmentation sam3i_segmentation;

/* Finds everything in the picture that the prompt means. Nothing found is no error. `image` must be of this `model`.
 * `options` may be NULL.
 * Errors: ARGUMENT, MODEL (what a prompt first needs is read from the files), DEVICE, STOPPED. */
sam3i_status sam3i_segment(const sam3i_model *model, const sam3i_image *image, const sam3i_prompt *prompt,
                           const sam3i_segment_options *options, sam3i_segmentation **segmentation);

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

/* An answer as a whole. */
typedef struct sam3i_summary {
    /* sizeof(sam3i_summary); set it before the call. */
    size_t size;
    /* Instances. */
    size_t count;
    /* Pixels across the picture and its masks. */
    size_t width;
    /* Pixels down. */
    size_t height;
    /* Tokens of the sentence, start and end included, before any cut. */
    size_t tokens;
    /* How sure the model is that the picture shows anything that is meant, 0 to 1. */
    float presence;
    /* The level it ran at, one of SAM3I_LEVEL_*. */
    int32_t level;
    /* 1 if the sentence was longer than the model reads, and was cut; else 0. */
    int32_t truncated;
    /* 0. */
    int32_t reserved;
} sam3i_summary;

#define SAM3I_SUMMARY_INIT \
    { sizeof(sam3i_summary), 0, 0, 0, 0, 0.0f, 0, 0, 0 }

/* One thing that was found. */
typedef struct sam3i_instance {
    /* sizeof(sam3i_instance); set it before the call. */
    size_t size;
    /* The query of the model's decoder that found it. */
    size_t query;
    /* Pixels of its mask. */
    size_t area;
    /* How well it matches, 0 to 1. */
    float score;
    /* Its box: left edge. Not clipped to the picture. */
    float x0;
    /* Upper edge. */
    float y0;
    /* Right edge. */
    float x1;
    /* Lower edge. */
    float y1;
    /* 0. */
    int32_t reserved;
    /* Its mask in COCO's compressed run-length code: the `counts` of {"size": [height, width], "counts": "..."}. ASCII;
     * it may hold backslashes, which JSON wants doubled. Belongs to the answer. */
    const char *rle;
    /* Bytes of `rle`, the zero at its end not counted. */
    size_t rle_length;
} sam3i_instance;

#define SAM3I_INSTANCE_INIT \
    { sizeof(sam3i_instance), 0, 0, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0, NULL, 0 }

/* Tells of an answer as a whole.
 * Errors: ARGUMENT. */
sam3i_status sam3i_segmentation_summary(const sam3i_segmentation *segmentation, sam3i_summary *summary);

/* Tells of the instance `index`, which counts from 0, best first.
 * Errors: ARGUMENT. */
sam3i_status sam3i_segmentation_instance(const sam3i_segmentation *segmentation, size_t index,
                                         sam3i_instance *instance);

/* Writes the mask of the instance `index` at the picture's size: row y to `buffer` + y * `stride`, a byte a pixel,
 * `value` (1 to 255) where the mask is set, 0 where it is not. Bytes between rows are left alone. `buffer_size`, the
 * bytes from `buffer` on that may be written, must be at least `stride` * (height - 1) + width; `stride` at least the
 * width.
 * Errors: ARGUMENT, BUFFER. */
sam3i_status sam3i_segmentation_mask(const sam3i_segmentation *segmentation, size_t index, uint8_t value,
                                     uint8_t *buffer, size_t buffer_size, size_t stride);

/* Frees an answer, and the strings that were asked of it. */
void sam3i_segmentation_free(sam3i_segmentation *segmentation);

#ifdef __cplusplus
}
#endif

#endif /* SAM3I_H */
