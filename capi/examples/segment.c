/* Everything in a picture that a sentence means, by sam3i's C interface.
 *
 *     segment PICTURE.ppm "the cat left of the umbrella" [LEVEL [MODEL]]
 *
 * LEVEL is concept, simple (the default) or complex; MODEL a file or directory, else nano, the small model that is built
 * in. Prints a line a find: score, box, pixels, and the mask in COCO's run-length code; writes each mask beside the
 * picture, as PICTURE.ppm.0.pgm and so on. Ctrl-C stops it in good order.
 */
#include "sam3i.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stop = 0;

static void on_signal(int signal_number) {
    (void)signal_number;
    stop = 1;
}

/* sam3i asks before each step whether to go on. */
static int32_t watch(void *user, int32_t stage, size_t done, size_t of) {
    (void)user;
    (void)stage;
    (void)done;
    (void)of;
    return stop;
}

/* A binary PPM file with 8 bits a channel, without remarks in its head; NULL if it is none. */
static uint8_t *read_ppm(const char *path, size_t *width, size_t *height) {
    FILE *file = fopen(path, "rb");
    uint8_t *rgb = NULL;
    unsigned w, h, most;
    if (!file) return NULL;
    if (fscanf(file, "P6 %u %u %u", &w, &h, &most) == 3 && most == 255 && w > 0 && h > 0 && w < 65536 && h < 65536 &&
        fgetc(file) != EOF) {
        rgb = malloc((size_t)3 * w * h);
        if (rgb && fread(rgb, (size_t)3 * w, h, file) != h) {
            free(rgb);
            rgb = NULL;
        }
        *width = w;
        *height = h;
    }
    fclose(file);
    return rgb;
}

static int write_pgm(const char *picture, size_t index, const uint8_t *mask, size_t width, size_t height) {
    char path[4096];
    FILE *file;
    int written;
    if (snprintf(path, sizeof path, "%s.%zu.pgm", picture, index) >= (int)sizeof path) return 0;
    file = fopen(path, "wb");
    if (!file) return 0;
    fprintf(file, "P5\n%zu %zu\n255\n", width, height);
    written = fwrite(mask, width, height, file) == height;
    return fclose(file) == 0 && written;
}

/* Prints what was found and writes its masks. */
static int report(const sam3i_segmentation *found, const char *picture) {
    sam3i_summary summary = SAM3I_SUMMARY_INIT;
    uint8_t *mask;
    size_t i;
    if (sam3i_segmentation_summary(found, &summary)) return 0;
    if (summary.truncated) fprintf(stderr, "the sentence was too long and was cut\n");
    mask = malloc(summary.width * summary.height);
    for (i = 0; mask && i < summary.count; i++) {
        sam3i_instance one = SAM3I_INSTANCE_INIT;
        if (sam3i_segmentation_instance(found, i, &one)) break;
        printf("%.9g %.9g %.9g %.9g %.9g %zu %s\n", one.score, one.x0, one.y0, one.x1, one.y1, one.area, one.rle);
        if (sam3i_segmentation_mask(found, i, 255, mask, summary.width * summary.height, summary.width)) break;
        if (!write_pgm(picture, i, mask, summary.width, summary.height)) break;
    }
    free(mask);
    return i == summary.count;
}

static int32_t level_named(const char *name) {
    if (strcmp(name, "concept") == 0) return SAM3I_LEVEL_CONCEPT;
    if (strcmp(name, "complex") == 0) return SAM3I_LEVEL_COMPLEX;
    return SAM3I_LEVEL_SIMPLE;
}

int main(int argc, char **argv) {
    sam3i_model *model = NULL;
    sam3i_image *image = NULL;
    sam3i_segmentation *found = NULL;
    sam3i_prompt prompt = SAM3I_PROMPT_INIT;
    sam3i_encode_options encode = SAM3I_ENCODE_OPTIONS_INIT;
    sam3i_segment_options options = SAM3I_SEGMENT_OPTIONS_INIT;
    size_t width = 0, height = 0;
    uint8_t *rgb;
    int done = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: segment PICTURE.ppm SENTENCE [concept|simple|complex [MODEL]]\n");
        return 2;
    }
    if (sam3i_abi_version() != SAM3I_ABI_VERSION) {
        fprintf(stderr, "the library is of another version: %s\n", sam3i_version());
        return 2;
    }
    rgb = read_ppm(argv[1], &width, &height);
    if (!rgb) {
        fprintf(stderr, "%s: no binary PPM of 8 bits a channel\n", argv[1]);
        return 2;
    }
    signal(SIGINT, on_signal);
    encode.watch = options.watch = watch;
    prompt.text = argv[2];
    if (argc > 3) prompt.level = level_named(argv[3]);

    if ((argc > 4 ? sam3i_model_load(argv[4], NULL, &model) : sam3i_model_load_embedded(NULL, &model)) == SAM3I_OK &&
        sam3i_image_encode(model, rgb, width, height, 3 * width, &encode, &image) == SAM3I_OK && /* once */
        sam3i_segment(model, image, &prompt, &options, &found) == SAM3I_OK) {                    /* any number of times */
        done = report(found, argv[1]);
        if (!done) fprintf(stderr, "%s: could not report all of it: %s\n", argv[1], sam3i_last_error());
    } else {
        fprintf(stderr, "%s\n", sam3i_last_error());
    }

    sam3i_segmentation_free(found);
    sam3i_image_free(image);
    sam3i_model_free(model);
    free(rgb);
    return done ? 0 : 2;
}
