using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;

namespace LoraNet.Cli.Commands;

/// <summary>Opens a model of any family, for commands that only look at weights.</summary>
internal static class AnyModel
{
    /// <summary>A decoder, or a classifier where config.json names an encoder.</summary>
    public static PretrainedModel Load(string folder, Backend backend)
    {
        ModelFolder.Check(folder);
        return EncoderFamilies.Names.Contains(ModelConfig.Load(folder).ModelType) ? SequenceClassifier.Load(folder, backend) : CausalLM.Load(folder, backend);
    }
}
