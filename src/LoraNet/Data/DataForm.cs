namespace LoraNet.Data;

/// <summary>The forms that a row can have; each row is recognised by its own keys, so that one file may hold several.</summary>
public enum DataForm
{
    /// <summary><c>text</c>: trained whole, EOS appended.</summary>
    Text,

    /// <summary><c>prompt</c> and <c>completion</c> (also prompt/response, question/answer): tokenised separately, the completion and EOS trained.</summary>
    PromptCompletion,

    /// <summary><c>messages</c>, a list of role and content, and <c>tools</c>: laid out by the chat template.</summary>
    Messages,

    /// <summary>Alpaca: <c>instruction, input, output, system, history</c>.</summary>
    Alpaca,

    /// <summary>ShareGPT: <c>conversations</c>, a list of from and value.</summary>
    ShareGpt,

    /// <summary><c>input_ids</c>, with <c>labels</c> and <c>attention_mask</c> if not all tokens are trained or real.</summary>
    Tokens,

    /// <summary><c>text</c>, <c>text_pair</c> and <c>label</c>: for a classifier.</summary>
    Classification,

    /// <summary><c>input_ids</c> and <c>label</c>: for a classifier.</summary>
    ClassificationTokens,
}
