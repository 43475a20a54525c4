//! Every op on every host device against the plain reference.

use proptest::prelude::*;
use sam3i_tests::cases::{self, check};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn linear_agrees_with_the_reference(case in cases::matmul::any_linear()) {
        check(&case);
        check(&cases::matmul::Product(case));
    }

    #[test]
    fn attention_agrees_with_the_reference(case in cases::attention::any_attention()) {
        check(&case);
    }

    #[test]
    fn conv_agrees_with_the_reference(case in cases::conv::any_conv()) {
        check(&case);
    }

    #[test]
    fn conv_transpose_agrees_with_the_reference(case in cases::conv::any_conv_transpose()) {
        check(&case);
    }

    #[test]
    fn softmax_agrees_with_the_reference(case in cases::softmax::any_softmax()) {
        check(&case);
    }
}
