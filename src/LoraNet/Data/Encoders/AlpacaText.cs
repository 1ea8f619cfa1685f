using System.Text;
using System.Text.Json.Nodes;
using LoraNet.ChatTemplates;
using LoraNet.Data.Reading;

namespace LoraNet.Data.Encoders;

/// <summary>
/// Stanford Alpaca's layout, for models without a chat template: a preamble, then the instruction, the input if there is one, and the
/// response under headings. The prompt and each response are tokenised separately; each response ends with EOS.
/// </summary>
internal static class AlpacaText
{
    private const string Plain = "Below is an instruction that describes a task. Write a response that appropriately completes the request.";
    private const string WithInput = "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.";

    /// <summary>Prompts and answers in turn.</summary>
    public static IReadOnlyList<Segment> Segments(JsonObject row, RowPlace place, TrainOn trainOn)
    {
        string instruction = Fields.Text(row, "instruction", place);
        string input = Conversation.AlpacaInput(row, place);
        string system = Fields.OptionalText(row, "system", place);
        List<Segment> segments = [];
        var prompt = new StringBuilder(system.Length > 0 ? system : input.Length > 0 ? WithInput : Plain).Append("\n\n");
        foreach ((string question, string answer) in Conversation.History(row, place))
        {
            prompt.Append("### Instruction:\n").Append(question).Append("\n\n### Response:\n");
            segments.Add(new Segment(prompt.ToString(), false));
            segments.Add(new Segment(answer, trainOn != TrainOn.Last) { Answer = true });
            prompt.Clear().Append("\n\n");
        }
        prompt.Append("### Instruction:\n").Append(instruction);
        if (input.Length > 0) prompt.Append("\n\n### Input:\n").Append(input);
        segments.Add(new Segment(prompt.Append("\n\n### Response:\n").ToString(), false));
        segments.Add(new Segment(Fields.Text(row, "output", place), true));
        return segments;
    }
}
